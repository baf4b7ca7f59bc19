package sim

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/g722"
	"github.com/bewaard/bewaard/media/opus"
)

// codec is what a phone speaks. It is said and heard at 8 kHz, whatever a codec could.
type codec struct {
	payloadType byte
	name        string // as a=rtpmap has it
	fmtp        string
	ticks       int // a packet of 20 ms
	hz          int
	// newSpeech returns what makes payloads of 20 ms, newHearing what takes them.
	newSpeech  func() func(payload []byte, pcm []int16) []byte
	newHearing func() func(pcm []int16, payload []byte) []int16
}

// codecs by the names that Config.Codec may have.
var codecs = map[string]codec{
	"PCMA": {8, "PCMA/8000", "", 160, 8000, plainly(g711.EncodeALaw), hearing(g711.DecodeALaw)},
	"PCMU": {0, "PCMU/8000", "", 160, 8000, plainly(g711.EncodeMuLaw), hearing(g711.DecodeMuLaw)},
	"G722": {9, "G722/8000", "", 160, 16000,
		func() func([]byte, []int16) []byte {
			e := g722.NewEncoder()
			return func(payload []byte, pcm []int16) []byte {
				payload = append(payload, make([]byte, len(pcm)/2)...)
				e.Encode(payload[len(payload)-len(pcm)/2:], pcm)
				return payload
			}
		},
		func() func([]int16, []byte) []int16 {
			d := g722.NewDecoder()
			return func(pcm []int16, payload []byte) []int16 {
				pcm = append(pcm[:0], make([]int16, 2*len(payload))...)
				d.Decode(pcm, payload)
				return pcm
			}
		}},
	"L16": {97, "L16/16000", "", 320, 16000,
		func() func([]byte, []int16) []byte {
			return func(payload []byte, pcm []int16) []byte {
				for _, s := range pcm {
					payload = binary.BigEndian.AppendUint16(payload, uint16(s))
				}
				return payload
			}
		},
		func() func([]int16, []byte) []int16 {
			return func(pcm []int16, payload []byte) []int16 {
				pcm = pcm[:0]
				for ; len(payload) > 1; payload = payload[2:] {
					pcm = append(pcm, int16(binary.BigEndian.Uint16(payload)))
				}
				return pcm
			}
		}},
	"OPUS": {111, "opus/48000/2", "minptime=10;useinbandfec=1", 960, 48000,
		func() func([]byte, []int16) []byte {
			e, err := opus.NewEncoder(opus.Config{Hz: 48000, Channels: 1})
			if err != nil {
				panic(err) // codecOf saw to it
			}
			return func(payload []byte, pcm []int16) []byte {
				var packet [opus.MaxPacketBytes]byte
				n, _ := e.Encode(packet[:], pcm)
				return append(payload, packet[:n]...)
			}
		},
		func() func([]int16, []byte) []int16 {
			d, err := opus.NewDecoder(48000, 1)
			if err != nil {
				panic(err)
			}
			return func(pcm []int16, payload []byte) []int16 {
				pcm = append(pcm[:0], make([]int16, opus.MaxPacketSamples)...)
				n, _ := d.Decode(pcm, payload)
				return pcm[:n]
			}
		}},
}

// codecOf returns the codec of that name, PCMA for none.
func codecOf(name string) (codec, error) {
	if name == "" {
		name = "PCMA"
	}
	c, ok := codecs[strings.ToUpper(name)]
	switch {
	case !ok:
		return codec{}, fmt.Errorf("codec %q: PCMA, PCMU, G722, L16 and OPUS are spoken", name)
	case c.hz == 48000 && !opus.Available:
		return codec{}, fmt.Errorf("codec %s: %w", name, opus.ErrUnavailable)
	}
	return c, nil
}

func plainly(encode func([]byte, []int16)) func() func([]byte, []int16) []byte {
	return func() func([]byte, []int16) []byte {
		return func(payload []byte, pcm []int16) []byte {
			payload = append(payload, make([]byte, len(pcm))...)
			encode(payload[len(payload)-len(pcm):], pcm)
			return payload
		}
	}
}

func hearing(decode func([]int16, []byte)) func() func([]int16, []byte) []int16 {
	return func() func([]int16, []byte) []int16 {
		return func(pcm []int16, payload []byte) []int16 {
			pcm = append(pcm[:0], make([]int16, len(payload))...)
			decode(pcm, payload)
			return pcm
		}
	}
}

// say gives the samples of a packet of 20 ms at the codec's rate: those of the voice, and
// between them what lies on the line from one to the next.
func (c codec) say(pcm []int16, voice Voice, packet int) []int16 {
	pcm = pcm[:0]
	steps := c.hz / clockHz
	for n := packet * frameSamples; n < (packet+1)*frameSamples; n++ {
		one, next := int(voice(n)), int(voice(n+1))
		for i := range steps {
			pcm = append(pcm, int16(one+(next-one)*i/steps))
		}
	}
	return pcm
}

// heard appends every sample of pcm that falls on one at 8 kHz.
func (c codec) heard(dst, pcm []int16) []int16 {
	for i := 0; i < len(pcm); i += c.hz / clockHz {
		dst = append(dst, pcm[i])
	}
	return dst
}
