#!/bin/bash
# Makes the placeholder announcements from text, with synthesizers from Debian's main
# archive: espeak-ng for Dutch, flite's slt voice for English.
#   apt-get install espeak-ng flite sox
# They are to be replaced by a studio recording: mono, PCM16, 8, 16 or 48 kHz.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# finish IN OUT: trimmed, within the telephone's band, levelled to about -20 dBFS with
# peaks at -3 dBFS at most, short fades, 100 ms of silence at either end, 16 kHz.
finish() {
	sox -v 0.5 "$1" -r 16000 -c 1 -b 16 "$work/trimmed.wav" \
		highpass 200 lowpass 3600 silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse
	sox "$work/trimmed.wav" "$work/level.wav" gain -n -6 compand 0.01,0.2 6:-50,-45,-30,-20,-12,-12 0 -20 0.1 gain -n -3
	local gain
	gain=$(sox "$work/level.wav" -n stat 2>&1 | awk '/RMS.*amplitude/ {g = -20 - 20 * log($3) / log(10); print (g < 0) ? g : 0}')
	sox "$work/level.wav" "$2" gain "$gain" fade t 0.01 -0 0.03 pad 0.1 0.1
}

espeak-ng -v nl -s 140 -p 45 -g 3 -w "$work/nl.wav" "$(cat recorded.nl.txt)"
finish "$work/nl.wav" recorded.nl.wav
flite -voice slt --setf duration_stretch=1.08 -o "$work/en.wav" -t "$(cat recorded.en.txt)"
finish "$work/en.wav" recorded.en.wav
