#!/bin/bash
# Makes the golden files of G.722 anew with ffmpeg (Debian's), whose encoder and decoder
# are not ours: *.s16 is 16 kHz in, *.g722 what ffmpeg makes of it, *.out.s16 what ffmpeg
# makes of that again. random.g722 is octets that no encoder would make.
set -euo pipefail
cd "$(dirname "$0")"
raw=(-f s16le -ar 16000 -ac 1)
ff() { ffmpeg -nostdin -v error -y -bitexact "$@"; }

ff -ss 1 -t 1 -i ../../../prompts/recorded.nl.wav "${raw[@]}" speech.s16
# A sweep to 8 kHz that swells to full scale, in noise.
ff -f lavfi -i "aevalsrc='0.98*t*2*sin(2*PI*8000*t*t)+0.01*(random(0)-0.5)':s=16000:d=0.5" "${raw[@]}" sweep.s16
for name in speech sweep; do
	ff "${raw[@]}" -i $name.s16 -c:a g722 -f g722 $name.g722
	ff -f g722 -i $name.g722 "${raw[@]}" $name.out.s16
done
ff -f lavfi -i "aevalsrc='2*random(0)-1':s=8000:d=0.5" -c:a pcm_u8 -f u8 random.g722
ff -f g722 -i random.g722 "${raw[@]}" random.out.s16
