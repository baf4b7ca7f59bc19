package finalize

import (
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// channelHz returns the sampling rate of a recording: the highest of the codecs
// that both parties had when it began. What is negotiated later does not change it.
func channelHz(h spool.Header) int64 {
	hz := int64(8000)
	for _, one := range h.Legs[0].Codecs {
		c, ok := codingOf(one)
		if ok && c.isAudio() && slices.ContainsFunc(h.Legs[1].Codecs, func(other rtp.Codec) bool {
			k, ok := codingOf(other)
			return ok && sameCoding(&c, &k)
		}) {
			hz = max(hz, c.hz)
		}
	}
	return hz
}

// voice turns the payloads of one stream into audio at the channel's rate.
//
//	payload ─ decode ─▶ pcm ─ resample ─▶ stretch where the timeline slips ─▶ channel
//
// Resampling holds a few milliseconds back. Audio that goes on where the last
// ended is resampled as one piece, across packets; what is held back at the end
// of a piece flush gives.
type voice struct {
	hz        int64 // of the channel
	coding    *coding
	decoding  decoder
	resampler *resample.Resampler // nil where the coding has the channel's rate

	begun bool  // a piece
	at    int64 // position of what comes next out of the resampler
	end   int64 // position behind the packet last spoken

	next int64 // timestamp behind the payload last decoded; 0 before there is one

	*buffers
}

// buffers are for one packet at a time; the voices of a leg share them.
type buffers struct{ pcm, resampled, stretched []int16 }

// changes reports whether a coding is another than the one in use.
func (v *voice) changes(c *coding) bool { return !sameCoding(v.coding, c) }

// use begins to decode another coding.
func (v *voice) use(c *coding) {
	v.coding, v.decoding, v.resampler, v.next = c, c.newDecoder(), nil, 0
	if c.hz != v.hz {
		r, err := resample.New(int(c.hz), int(v.hz))
		if err != nil {
			panic(err) // the codings that we know have these rates only
		}
		v.resampler = r
	}
}

// maxConcealed is how much of what was lost is made up. Beyond, it would be guesswork.
const maxConcealed = 120 * time.Millisecond

// decode takes the next packet; speak gives its audio. Lost says that the network owes
// the packets in front of it: the audio may then begin with what stands for them, and
// is returned as audio of that length.
func (v *voice) decode(p packet, lost bool) (audio, error) {
	a := p.audio()
	v.pcm = v.pcm[:0]
	gap := a.from - v.next
	if lost && v.next != 0 && gap > 0 && gap <= samplesAt(maxConcealed, v.coding.clockHz) {
		v.pcm = v.decoding.conceal(v.pcm, int(gap*v.coding.hz/v.coding.clockHz), p.payload)
	}
	concealed := int64(len(v.pcm)) * v.coding.clockHz / v.coding.hz
	a.from, a.ticks = a.from-concealed, a.ticks+concealed
	var err error
	v.pcm, err = v.decoding.decode(v.pcm, p.payload)
	v.next = a.from + a.ticks
	return a, err
}

// continues reports whether a packet at that position goes on with the piece that
// was begun; else that is to be flushed first.
func (v *voice) continues(position int64) bool { return !v.begun || position == v.end }

// speak returns the audio of the packet that was decoded last, which is at that
// position and to be longer by slip samples; and where what it returns belongs,
// which with a resampler is a little before.
func (v *voice) speak(position, slip int64) (at int64, audio []int16) {
	at, audio = position, v.pcm
	if v.resampler != nil {
		if !v.begun {
			v.begun, v.at = true, position
		}
		v.end = position + int64(len(v.pcm))*v.hz/v.coding.hz + slip
		v.resampled = v.resampler.Process(v.resampled[:0], v.pcm)
		at, audio = v.at, v.resampled
	}
	if slip != 0 && len(audio) > int(-slip) {
		v.stretched = stretch(v.stretched[:0], audio, len(audio)+int(slip))
		audio = v.stretched
	}
	v.at += int64(len(audio))
	return at, audio
}

// flush ends a piece and returns what was held back of it.
func (v *voice) flush() (at int64, audio []int16) {
	if !v.begun {
		return 0, nil
	}
	v.begun = false
	v.resampled = v.resampler.Flush(v.resampled[:0])
	v.resampler.Reset()
	return v.at, v.resampled
}
