// Reads an MP4 file with GPAC's mp4box.js and prints, as JSON, what it holds and what is wrong with it:
//   {"tracks": [{"id", "codec", "samples", "bytes"}], "complaints": ["..."]}
//
// Beside what the library itself complains about, the rules of ISO/IEC 14496-12 that a player leans on are
// checked on what it read: boxes fill their parents, tables agree with each other, samples lie in media data
// and nowhere twice, durations add up.

const fs = require('fs');
const { createFile, Log } = require('mp4box');

const complaints = [];
const complain = (text) => complaints.push(text);
Log.warn = (module, message) => complain(`${module}: ${message}`);
Log.error = Log.warn;

const bytes = fs.readFileSync(process.argv[2]);
const file = createFile();
file.onError = (module, message) => complain(`${module}: ${message}`);
const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
buffer.fileStart = 0;
file.appendBuffer(buffer, true);
file.flush();

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// Boxes one behind the other, from `start` to exactly `end`.
function fill(boxes, start, end, where) {
    let at = start;
    for (const box of boxes) {
        if (box.start !== at) complain(`${where}: a hole before ${box.type} at ${at}`);
        at = box.start + box.size;
        if (['moov', 'trak', 'mdia', 'minf', 'dinf', 'stbl', 'edts', 'mvex', 'moof', 'traf'].includes(box.type)) {
            fill(box.boxes, box.start + box.hdr_size, at, `${where}/${box.type}`);
        }
    }
    if (at !== end) complain(`${where}: its boxes end at ${at}, not at ${end}`);
}

fill(file.boxes, 0, bytes.length, 'file');
const media = file.boxes.filter((box) => box.type === 'mdat').map((box) => [box.start + box.hdr_size, box.start + box.size]);
const used = [];
const tracks = [];

// The tables of a track agree on how many samples there are, and on how long they last.
function tables(track, name) {
    const { stts, ctts, stss, stsz, stsc, stsd } = track.mdia.minf.stbl;
    const offsets = track.mdia.minf.stbl.stco ?? track.mdia.minf.stbl.co64;
    const count = stsz.sample_sizes.length || stsz.sample_count;
    const timed = sum(stts.sample_counts);
    if (timed !== count) complain(`${name}: stts counts ${timed} samples, stsz ${count}`);
    if (ctts && sum(ctts.sample_counts) !== count) complain(`${name}: ctts counts ${sum(ctts.sample_counts)} samples, stsz ${count}`);
    const lasts = sum(stts.sample_counts.map((number, at) => number * stts.sample_deltas[at]));
    if (track.mdia.mdhd.duration !== lasts && !file.moov.mvex) complain(`${name}: mdhd says ${track.mdia.mdhd.duration} ticks, stts ${lasts}`);
    let chunked = 0;
    stsc.first_chunk.forEach((first, at) => {
        const next = stsc.first_chunk[at + 1] ?? offsets.chunk_offsets.length + 1;
        if (next <= first) complain(`${name}: stsc does not rise`);
        chunked += (next - first) * stsc.samples_per_chunk[at];
        if (stsc.sample_description_index[at] > stsd.entries.length) complain(`${name}: stsc names a sample entry that is not there`);
    });
    if (chunked !== count) complain(`${name}: stsc counts ${chunked} samples, stsz ${count}`);
    if (stss && stss.sample_numbers.some((number, at, all) => number < 1 || number > count || number <= (all[at - 1] ?? 0))) {
        complain(`${name}: stss does not rise within 1..${count}`);
    }
}

// What is shown: the edits of a track are its length, and the longest track is the movie's.
function durations(track, name) {
    const edits = track.edts?.elst?.entries;
    if (!edits || file.moov.mvex) return;
    const shown = sum(edits.map((edit) => edit.segment_duration));
    if (track.tkhd.duration !== shown) complain(`${name}: tkhd says ${track.tkhd.duration} ticks, elst ${shown}`);
    const end = (track.mdia.mdhd.duration * file.moov.mvhd.timescale) / track.mdia.mdhd.timescale;
    for (const edit of edits) {
        const starts = (edit.media_time * file.moov.mvhd.timescale) / track.mdia.mdhd.timescale;
        if (edit.media_time >= 0 && starts > end) complain(`${name}: an edit begins after the media`);
    }
}

// When the last edit of a track ends, in its ticks: what is later is not shown.
function shownUntil(track) {
    const edit = track.edts?.elst?.entries.at(-1);
    if (!edit) return Infinity;
    return edit.media_time + (edit.segment_duration * track.mdia.mdhd.timescale) / file.moov.mvhd.timescale;
}

for (const track of file.moov?.traks ?? []) {
    const name = `track ${track.tkhd.track_id}`;
    const samples = file.getTrackSamplesInfo(track.tkhd.track_id);
    tables(track, name);
    durations(track, name);
    let dts = -Infinity;
    for (const sample of samples) {
        const [start, end] = [sample.offset, sample.offset + sample.size];
        if (!media.some(([from, to]) => from <= start && end <= to)) complain(`${name}: sample ${sample.number} lies outside of mdat`);
        // A fragmented file may give what it does not show the decode time of what comes before.
        const isHidden = file.moov.mvex && sample.cts >= Math.floor(shownUntil(track));
        if (sample.dts < dts || (sample.dts === dts && !isHidden)) complain(`${name}: the decode time of sample ${sample.number} does not rise`);
        dts = sample.dts;
        used.push([start, end]);
    }
    tracks.push({
        id: track.tkhd.track_id,
        codec: track.mdia.minf.stbl.stsd.entries[0].getCodec(),
        samples: samples.length,
        bytes: sum(samples.map((sample) => sample.size)),
    });
}
if (!file.moov) complain('no moov');
else if (!file.moov.mvex) {
    const longest = Math.max(...file.moov.traks.map((track) => track.tkhd.duration));
    if (file.moov.mvhd.duration !== longest) complain(`mvhd says ${file.moov.mvhd.duration} ticks, the longest track ${longest}`);
}
used.sort((a, b) => a[0] - b[0]);
used.forEach(([start], at) => {
    if (at > 0 && start < used[at - 1][1]) complain(`samples share the bytes at ${start}`);
});

// Of a damaged table every sample is wrong: the first few tell.
console.log(JSON.stringify({ tracks, complaints: complaints.slice(0, 20) }));
