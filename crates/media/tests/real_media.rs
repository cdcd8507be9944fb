//! Media of real encoders goes through both layouts; FFmpeg and ffprobe judge what comes out.

mod support;

use std::{fs, ops::Range, path::Path};

use mediahooks_media::{
    cmaf::{FragmentTrack, InitTrack, encode_fragment_head, encode_init, parse_fragment},
    codec::CodecConfig,
    mp4::{Edit, MOVIE_TIMESCALE, MovieTrack},
    sample::{SampleInfo, Ticks, TrackConfig},
    virtual_file::VirtualFile,
};
use mp4_atom::Decode;
use support::{
    SourceTrack, box_payload, decode_all, ffmpeg, ffmpeg9, materialise,
    memory::{Chunk, Movie, VirtualMp4, layout},
    path_str, picture_hashes, probe, read_mp4, run,
};
use tempfile::TempDir;

const FRAMES: usize = 120;
const FRAMES_PER_SECOND: u64 = 30;

/// Encodes four seconds of a moving picture and a tone, with a key frame each second.
fn encode(directory: &TempDir, codecs: &[&str]) -> Vec<SourceTrack> {
    let file = directory.path().join("source.mp4");
    let picture = "testsrc2=size=322x182:rate=30:duration=4";
    let inputs = [
        "-f",
        "lavfi",
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000:duration=4",
    ];
    let common =
        ["-pix_fmt", "yuv420p", "-g", "30", "-keyint_min", "30", "-strict", "-2", "-y", path_str(&file)];
    run(&ffmpeg(), &[&inputs[..], codecs, &common].concat());
    read_mp4(&fs::read(&file).expect("the file"))
}

/// The fragments of a recording, each beginning at a video sync sample, and what each holds.
struct Fragments {
    files: Vec<Vec<u8>>,
    /// For each fragment and track: its samples' indices, and the offset of the first one.
    contents: Vec<Vec<(Range<usize>, u64)>>,
}

fn fragment(tracks: &[SourceTrack]) -> Fragments {
    let video = &tracks[0];
    let mut starts: Vec<usize> = (0..video.samples.len()).filter(|i| video.samples[*i].is_sync).collect();
    starts.push(video.samples.len());
    let mut next = vec![0; tracks.len()];
    let mut fragments = Fragments { files: Vec::new(), contents: Vec::new() };
    for (number, end) in (1..).zip(&starts[1..]) {
        let ends: Vec<usize> = tracks
            .iter()
            .enumerate()
            .map(|(index, track)| match (index, video.samples.get(*end)) {
                (0, _) => *end,
                (_, None) => track.samples.len(),
                (_, Some(sync)) => {
                    let until = sync.dts.rescale(video.config.timescale, track.config.timescale);
                    track.samples.partition_point(|sample| sample.dts < until)
                }
            })
            .collect();
        let ranges: Vec<_> = std::iter::zip(&next, &ends).map(|(start, end)| *start..*end).collect();
        let parts: Vec<FragmentTrack<'_>> = (1..)
            .zip(std::iter::zip(tracks, &ranges))
            .map(|(track_id, (track, range))| FragmentTrack {
                track_id,
                base_dts: track.samples[range.start].dts,
                samples: &track.infos[range.clone()],
            })
            .collect();
        let head = encode_fragment_head(number, &parts).expect("a fragment");
        let mut file = head.bytes;
        for (track, range) in std::iter::zip(tracks, &ranges) {
            track.samples[range.clone()].iter().for_each(|sample| file.extend(&sample.data));
        }
        assert_eq!(file.len() as u64, head.total_len);
        fragments.files.push(file);
        fragments.contents.push(std::iter::zip(ranges, head.data_offsets).collect());
        next = ends;
    }
    fragments
}

/// Init and fragments one after another: what a chunk file on disk holds.
fn chunk_file(tracks: &[SourceTrack], fragments: &Fragments) -> Vec<u8> {
    let tracks: Vec<_> =
        (1..).zip(tracks).map(|(track_id, track)| InitTrack { track_id, config: &track.config }).collect();
    let mut file = encode_init(&tracks).expect("an initialization segment");
    fragments.files.iter().for_each(|fragment| file.extend(fragment));
    file
}

/// Lays out the given samples of each track as a movie over the fragments.
fn movie(
    tracks: &[SourceTrack],
    fragments: &Fragments,
    included: &[Range<usize>],
    edits: &[Edit],
) -> VirtualMp4 {
    let movie_tracks: Vec<_> = std::iter::zip(tracks, edits)
        .map(|(track, edit)| MovieTrack { configs: std::slice::from_ref(&track.config), edit: *edit })
        .collect();
    let mut chunks = Vec::new();
    for (source, contents) in (0..).zip(&fragments.contents) {
        for (track, (range, offset)) in contents.iter().enumerate() {
            let start = range.start.max(included[track].start).min(range.end);
            let end = range.end.min(included[track].end).max(start);
            let infos = &tracks[track].infos;
            let skipped: u64 = infos[range.start..start].iter().map(|info| u64::from(info.size)).sum();
            chunks.push(Chunk {
                track,
                config: 0,
                source,
                offset: offset + skipped,
                samples: &infos[start..end],
            });
        }
    }
    layout(Movie { tracks: &movie_tracks, chunks: &chunks, created_unix_s: 1_700_000_000 }).expect("a movie")
}

/// Writes a movie to a file and checks that reading it back finds every sample as it was.
fn write_movie(
    movie: &VirtualMp4,
    tracks: &[SourceTrack],
    fragments: &Fragments,
    included: &[Range<usize>],
    file: &Path,
) {
    let bytes = materialise(movie, 0..movie.len(), &fragments.files);
    assert_eq!(bytes.len() as u64, movie.len());
    let read = read_mp4(&bytes);
    assert_eq!(read.len(), tracks.len());
    for ((read, track), range) in read.iter().zip(tracks).zip(included) {
        assert_eq!(read.config, track.config);
        assert_eq!(read.infos, track.infos[range.clone()]);
        for (read, sample) in read.samples.iter().zip(&track.samples[range.clone()]) {
            assert_eq!(read.data, sample.data);
        }
    }
    fs::write(file, bytes).expect("the file is written");
}

fn movie_ticks(track: &SourceTrack, ticks: i64) -> u64 {
    u64::try_from(Ticks(ticks).rescale(track.config.timescale, MOVIE_TIMESCALE).0).expect("not negative")
}

fn seconds(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

fn assert_duration(file: &Path, stream: &str, expected: f64) {
    let actual = seconds(&probe(file, stream, "duration"));
    assert!((actual - expected).abs() < 0.000_1, "stream {stream} lasts {actual} s instead of {expected} s");
}

/// Everything that must hold for one pair of codecs. `judges` decode recordings, `clip_judges` clips.
fn check(codecs: &[&str], names: [&str; 2], judges: &[&Path], clip_judges: &[&Path]) {
    let directory = TempDir::new().expect("a directory");
    let tracks = encode(&directory, codecs);
    assert_eq!(tracks.iter().map(|track| track.config.codec.name()).collect::<Vec<_>>(), names);
    assert_eq!(tracks[0].config.codec.dimensions(), Some((322, 182)));
    let fragments = fragment(&tracks);
    check_fragments(&tracks, &fragments, &directory.path().join("fragments.mp4"), judges);
    let whole = directory.path().join("whole.mp4");
    check_recording(&tracks, &fragments, &whole, judges);
    let clip = directory.path().join("clip.mp4");
    for judge in clip_judges {
        let pictures = picture_hashes(judge, &whole);
        for shown in CLIPS {
            write_clip(&tracks, &fragments, shown.clone(), &clip);
            decode_all(judge, &clip);
            assert_eq!(picture_hashes(judge, &clip), pictures[shown.clone()], "{shown:?}");
        }
    }
}

fn check_fragments(tracks: &[SourceTrack], fragments: &Fragments, file: &Path, judges: &[&Path]) {
    for (bytes, contents) in fragments.files.iter().zip(&fragments.contents) {
        let parsed = parse_fragment(bytes).expect("our own fragment");
        assert_eq!(parsed.len, bytes.len() as u64);
        for ((parsed, track), (range, offset)) in parsed.tracks.iter().zip(tracks).zip(contents) {
            assert_eq!(parsed.samples, track.infos[range.clone()]);
            assert_eq!((parsed.base_dts, parsed.data_offset), (track.samples[range.start].dts, *offset));
        }
    }
    let bytes = chunk_file(tracks, fragments);
    check_init_by_oracle(tracks, &bytes);
    fs::write(file, bytes).expect("the file is written");
    judges.iter().for_each(|judge| decode_all(judge, file));
    assert_eq!(probe(file, "v:0", "nb_read_packets"), FRAMES.to_string());
    assert_eq!(probe(file, "a:0", "nb_read_packets"), tracks[1].samples.len().to_string());
}

/// An independent parser finds the tracks and what their samples default to.
fn check_init_by_oracle(tracks: &[SourceTrack], mut bytes: &[u8]) {
    mp4_atom::Ftyp::decode(&mut bytes).expect("a ftyp");
    let moov = mp4_atom::Moov::decode(&mut bytes).expect("a moov");
    let mvex = moov.mvex.expect("an mvex");
    for ((track_id, track), (trak, trex)) in (1..).zip(tracks).zip(moov.trak.iter().zip(&mvex.trex)) {
        assert_eq!((trak.tkhd.track_id, trex.track_id), (track_id, track_id));
        assert_eq!(trak.mdia.mdhd.timescale, track.config.timescale);
        assert!(!matches!(trak.mdia.minf.stbl.stsd.codecs[..], [mp4_atom::Codec::Unknown(..)] | []));
    }
}

fn check_recording(tracks: &[SourceTrack], fragments: &Fragments, file: &Path, judges: &[&Path]) {
    let included: Vec<_> = tracks.iter().map(|track| 0..track.samples.len()).collect();
    let picture = FRAMES as u64 * u64::from(MOVIE_TIMESCALE) / FRAMES_PER_SECOND;
    let edits = [
        Edit { empty: 0, media_time: tracks[0].first_pts(), duration: picture },
        Edit { empty: 0, media_time: 0, duration: movie_ticks(&tracks[1], total(&tracks[1].infos)) },
    ];
    let movie = movie(tracks, fragments, &included, &edits);
    write_movie(&movie, tracks, fragments, &included, file);
    judges.iter().for_each(|judge| decode_all(judge, file));
    assert_eq!(probe(file, "v:0", "nb_read_packets"), FRAMES.to_string());
    assert_duration(file, "v:0", 4.0);
    assert_eq!(seconds(&probe(file, "v:0", "start_time")), 0.0);
    for judge in judges {
        assert_eq!(picture_hashes(judge, file).len(), FRAMES);
    }
}

fn total(infos: &[SampleInfo]) -> i64 {
    infos.iter().map(|info| i64::from(info.duration)).sum()
}

/// Ranges of pictures inside, across and along groups of 30.
const CLIPS: [Range<usize>; 5] = [47..100, 30..60, 59..61, 1..2, 118..120];

/// Writes a clip that shows exactly the given pictures and the sound beside them.
fn write_clip(tracks: &[SourceTrack], fragments: &Fragments, shown: Range<usize>, file: &Path) {
    let [video, audio] = tracks else { panic!("two tracks") };
    let frame = i64::from(video.config.timescale) / 30;
    let at = |picture: usize| i64::try_from(picture).expect("small") * frame;
    let (start, end) = (video.first_pts() + at(shown.start), video.first_pts() + at(shown.end));
    let first = video.samples.iter().rposition(|sample| sample.is_sync && sample.pts().0 <= start);
    let first = first.expect("a sync sample");
    let last = video.samples.iter().rposition(|sample| sample.pts().0 < end).expect("a last sample");
    let in_audio = |ticks| Ticks(ticks).rescale(video.config.timescale, audio.config.timescale).0;
    let (audio_start, audio_end) = (in_audio(at(shown.start)), in_audio(at(shown.end)));
    // Five packets before what is heard: more than the pre-roll of any codec here.
    let audio_first = audio.samples.partition_point(|sample| sample.dts.0 <= audio_start).saturating_sub(6);
    let audio_last = audio.samples.partition_point(|sample| sample.dts.0 < audio_end);
    let included = [first..last + 1, audio_first..audio_last];
    let duration = shown.len() as u64 * u64::from(MOVIE_TIMESCALE) / FRAMES_PER_SECOND;
    let edits = [
        Edit { empty: 0, media_time: start - video.samples[first].dts.0, duration },
        Edit { empty: 0, media_time: audio_start - audio.samples[audio_first].dts.0, duration },
    ];
    let movie = movie(tracks, fragments, &included, &edits);
    write_movie(&movie, tracks, fragments, &included, file);
    let expected = shown.len() as f64 / 30.0;
    assert_duration(file, "v:0", expected);
    assert_duration(file, "a:0", expected);
}

#[test]
fn h264_with_b_frames_and_aac() {
    let codecs = ["-c:v", "libx264", "-bf", "3", "-c:a", "aac"];
    let judges: [&Path; 2] = [&ffmpeg(), &ffmpeg9()];
    check(&codecs, ["H264", "AAC"], &judges, &judges);
}

/// The pictures before an open group's first one in presentation order need the group before it, so a
/// clip that begins there makes decoders complain, even about what the edit hides. A recording must not.
#[test]
fn h264_with_open_groups_of_pictures() {
    let codecs = ["-c:v", "libx264", "-x264-params", "open-gop=1:bframes=3", "-c:a", "aac"];
    let directory = TempDir::new().expect("a directory");
    let tracks = encode(&directory, &codecs);
    let fragments = fragment(&tracks);
    let judges: [&Path; 2] = [&ffmpeg(), &ffmpeg9()];
    check_fragments(&tracks, &fragments, &directory.path().join("fragments.mp4"), &judges);
    check_recording(&tracks, &fragments, &directory.path().join("whole.mp4"), &judges);
}

#[test]
fn h265_and_aac() {
    let codecs = ["-c:v", "libx265", "-x265-params", "log-level=none:open-gop=0", "-c:a", "aac"];
    let judges: [&Path; 2] = [&ffmpeg(), &ffmpeg9()];
    check(&codecs, ["H265", "AAC"], &judges, &judges);
}

#[test]
fn av1_and_opus() {
    let codecs = ["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-c:a", "libopus"];
    check(&codecs, ["AV1", "Opus"], &[&ffmpeg(), &ffmpeg9()], &[&ffmpeg9()]);
}

#[test]
fn vp9_and_opus() {
    let codecs = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    let judges: [&Path; 2] = [&ffmpeg(), &ffmpeg9()];
    check(&codecs, ["VP9", "Opus"], &judges, &judges);
}

#[test]
fn h264_and_aac_with_a_program_config_element() {
    let codecs = ["-c:v", "libx264", "-af", "aformat=channel_layouts=quad", "-c:a", "aac"];
    check(&codecs, ["H264", "AAC"], &[&ffmpeg(), &ffmpeg9()], &[&ffmpeg9()]);
}

#[test]
fn h264_and_mp3() {
    let codecs = ["-c:v", "libx264", "-c:a", "libmp3lame"];
    check(&codecs, ["H264", "MP3"], &[&ffmpeg(), &ffmpeg9()], &[&ffmpeg9()]);
}

/// Sound that begins a second after the picture is heard a second after it.
#[test]
fn a_late_track_begins_late() {
    let directory = TempDir::new().expect("a directory");
    let tracks = encode(&directory, &["-c:v", "libx264", "-c:a", "aac"]);
    let fragments = fragment(&tracks);
    let [video, audio] = &tracks[..] else { panic!("two tracks") };
    let first = audio.samples.partition_point(|sample| sample.dts.0 < i64::from(audio.config.timescale));
    let included = [0..video.samples.len(), first..audio.samples.len()];
    let late = movie_ticks(audio, audio.samples[first].dts.0);
    let heard = movie_ticks(audio, total(&audio.infos[first..]));
    let edits = [
        Edit { empty: 0, media_time: video.first_pts(), duration: 4 * u64::from(MOVIE_TIMESCALE) },
        Edit { empty: late, media_time: 0, duration: heard },
    ];
    let movie = movie(&tracks, &fragments, &included, &edits);
    let file = directory.path().join("late.mp4");
    write_movie(&movie, &tracks, &fragments, &included, &file);
    decode_all(&ffmpeg(), &file);
    decode_all(&ffmpeg9(), &file);
    let expected = late as f64 / f64::from(MOVIE_TIMESCALE);
    assert!((seconds(&probe(&file, "a:0", "start_time")) - expected).abs() < 0.001);
    assert_eq!(seconds(&probe(&file, "v:0", "start_time")), 0.0);
}

/// Six channels: our box is made from the header that an Ogg file has, FFmpeg's is in its MP4 file.
#[test]
fn multichannel_opus_is_described_as_ffmpeg_describes_it() {
    let directory = TempDir::new().expect("a directory");
    let encode = |name: &str| {
        let file = directory.path().join(name);
        let input = ["-f", "lavfi", "-i", "sine=duration=0.2", "-af", "aformat=channel_layouts=5.1"];
        run(&ffmpeg(), &[&input[..], &["-c:a", "libopus", "-strict", "-2", path_str(&file)]].concat());
        fs::read(file).expect("the file")
    };
    let (ogg, mp4) = (encode("opus.ogg"), encode("opus.mp4"));
    let at = ogg.windows(8).position(|window| window == b"OpusHead").expect("a header");
    let header = &ogg[at..at + 19 + 2 + 6];
    let codec = CodecConfig::opus_from_id_header(header).expect("a configuration");
    assert_eq!(codec.channels(), Some(6));
    let config = TrackConfig::new(48_000, codec);
    let init = encode_init(&[InitTrack { track_id: 1, config: &config }]).expect("an initialization segment");
    assert_eq!(box_payload(&init, b"dOps"), box_payload(&mp4, b"dOps"));
}
