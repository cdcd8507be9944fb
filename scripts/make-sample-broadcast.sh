#!/usr/bin/env bash
# Makes assets/sample.flv, the broadcast that `mediahooks demo` publishes: 12 s of H.264 (with B-frames)
# and AAC, 640x360 at 30 frames per second, a key frame each second, under 1 MB.
#
# The picture holds a running clock and the frame number for people, and along its upper edge the same
# number for programs: 16 squares of 16x16 pixels, the lowest bit at the left, white for 1. Each second
# begins with a beep. Needs an ffmpeg with libx264 and drawtext, and a DejaVu font.
set -euo pipefail
cd "$(dirname "$0")/.."

ffmpeg=${FFMPEG:-ffmpeg}
font=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf}
seconds=12
rate=30
out=assets/sample.flv

if [[ ! -r $font ]]; then
    echo "no font at $font: install fonts-dejavu-core, or name a font file in FONT" >&2
    exit 1
fi

clock="drawtext=fontfile=$font:fontcolor=white:fontsize=72:x=(w-tw)/2:y=(h-th)/2-24:text='%{pts\\:hms}'"
number="drawtext=fontfile=$font:fontcolor=0xffc857:fontsize=32:x=(w-tw)/2:y=(h/2)+48:text='frame %{frame_num}'"
title="drawtext=fontfile=$font:fontcolor=0x8fb8de:fontsize=24:x=(w-tw)/2:y=h-48:text='Media Hooks sample broadcast'"
# A bar that crosses the picture once a second shows at a glance whether playback is even.
bar="color=c=0x2f6690:size=64x10:rate=$rate[bar]"
bits="color=c=black:size=256x16:rate=$rate,format=yuv420p,\
geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),235,16)':cb=128:cr=128[bits]"
beep="aevalsrc='0.25*sin(2*PI*880*t)*lt(mod(t,1),0.08)+0.02*sin(2*PI*220*t)':s=48000:d=$seconds"

mkdir -p assets
"$ffmpeg" -hide_banner -loglevel error -y \
    -f lavfi -i "color=c=0x16425b:size=640x360:rate=$rate:duration=$seconds" \
    -f lavfi -i "$beep" \
    -filter_complex "$bar;$bits;\
[0:v][bar]overlay=x='mod(t,1)*(W-w)':y=H-h-16:shortest=1,$clock,$number,$title[picture];\
[picture][bits]overlay=0:0:shortest=1,format=yuv420p[video]" \
    -map '[video]' -map 1:a \
    -c:v libx264 -preset veryslow -profile:v high -bf 2 -g "$rate" -keyint_min "$rate" -sc_threshold 0 \
    -crf 26 -maxrate 500k -bufsize 500k \
    -colorspace bt709 -color_primaries bt709 -color_trc bt709 \
    -c:a aac -b:a 64k -ac 2 -ar 48000 \
    -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
    -t "$seconds" -f flv -flvflags no_duration_filesize "$out"

bytes=$(wc -c < "$out")
if (( bytes >= 1000000 )); then
    echo "$out has $bytes bytes; it has to stay under 1 MB" >&2
    exit 1
fi
echo "$out: $bytes bytes"
