package finalize

import (
	"fmt"
	"io"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// A call that was Opus on the wire can be kept as its packets, without decoding. A packet of
// the file holds one of each party, which last equally long and begin together; those of two
// phones do neither, so each is moved to the nearest place of a grid:
//
//	wire, left    ──┃ a ┃ b ┃ c ┃      ┃ d ┃──      where the timeline has them
//	wire, right   ┃ k ┃ l ┃   ┃ m ┃──────────
//	file          │a k│b l│c –│– m│d  –│            – what decoders conceal, or silence
//
// The grid begins where the first packet does. A party's packets keep the distance that
// their timestamps have until they are half a packet off, because clocks part; then one place
// is left empty, or one packet out.

// passage writes packets as they came into an Ogg-Opus file: it is the output of a recording
// whose frames are its clock only, and the tracks bring it their packets.
type passage struct {
	begin   func(preSkip int) (*oggopus.Writer, error)
	muxer   *oggopus.Writer // nil before the first packet is written
	samples int64           // a packet's, at 48 kHz: a place of the grid
	preSkip int64           // from the grid's begin to the recording's; 0 before it is known

	places  [][2][]byte // a ring, by the number of the place and the channel; empty for none
	next    int64       // number of the first place that is not written
	frames  int64       // of the recording so far
	parties [2]spoken
	fill    []byte
}

// spoken is what of a party was written last.
type spoken struct {
	toc   byte // of its last packet
	count int  // frames in that; 0 before there was one
	gap   int64
}

// walk is where on the grid a stream is.
type walk struct {
	begun   bool
	place   int64
	from    int64  // timestamp of the packet there
	snapped uint64 // packets left out, or places left empty
}

// newPassage begins a file of packets of so many samples.
func newPassage(file io.Writer, samples int64, h spool.Header, job Job) *passage {
	return &passage{
		begin: func(preSkip int) (*oggopus.Writer, error) {
			return oggopus.NewWriter(file, opusHeader(preSkip, opusClockHz, h, job))
		},
		samples: samples,
		places:  make([][2][]byte, samplesAt(windowTime, opusClockHz)/samples+4),
	}
}

// slack is how far beyond half a packet one that says something may be off before another is
// left out: who says nothing then gives the better moment.
const slack = opusClockHz / 500 // 2 ms

// speechless is the longest packet that says nothing: that of a sender in DTX.
const speechless = 2

// put has a packet of a stream heard on a channel at a position, and reports whether it will
// be.
func (p *passage) put(channel int, w *walk, from, position int64, packet []byte) bool {
	if p.preSkip == 0 { // more than none: RFC 7845 §4.2 has decoders converge in it
		p.preSkip = p.samples - modulo(position, p.samples)
	}
	target := position + p.preSkip
	nearest := (target + p.samples/2 - modulo(target+p.samples/2, p.samples)) / p.samples
	place := nearest
	if w.begun {
		steps := from - w.from
		place = w.place + (steps+p.samples/2-modulo(steps+p.samples/2, p.samples))/p.samples
		limit := p.samples / 2
		if len(packet) > speechless {
			limit += slack
		}
		if off := target - place*p.samples; off > limit || off < -limit {
			place = nearest
			w.snapped++
		}
	}
	w.begun, w.place, w.from = true, place, from
	if place < p.next || place >= p.next+int64(len(p.places)) {
		return false
	}
	at := &p.places[place%int64(len(p.places))][channel]
	if len(*at) > 0 {
		return false
	}
	*at = append(*at, packet...)
	return true
}

func modulo(a, n int64) int64 { return (a%n + n) % n }

// write takes the frames only for how many they are: what comes before the end of them has
// been put, but for what is moved by half a packet.
func (p *passage) write(frames []int16) error {
	p.frames += int64(len(frames) / 2)
	return p.pass((p.frames+p.preSkip)/p.samples - 2)
}

// close ends the recording after so many frames.
func (p *passage) close(frames int64) error {
	if p.preSkip == 0 { // nobody said anything
		p.preSkip = p.samples
	}
	if err := p.pass((frames + p.preSkip + p.samples - 1) / p.samples); err != nil {
		return err
	}
	return p.muxer.Close(frames)
}

// pass writes the places before that one.
func (p *passage) pass(before int64) error {
	for p.next < before {
		if p.muxer == nil {
			if p.preSkip == 0 {
				p.preSkip = p.samples
			}
			var err error
			if p.muxer, err = p.begin(int(p.preSkip)); err != nil {
				return err
			}
		}
		at := &p.places[p.next%int64(len(p.places))]
		var packets [2][]byte
		p.fill = p.fill[:0]
		for channel := range packets {
			packets[channel] = at[channel]
			if said := &p.parties[channel]; len(at[channel]) > 0 {
				said.toc, said.count, said.gap = at[channel][0], opus.Frames(at[channel]), 0
			} else {
				begin := len(p.fill)
				p.fill = said.silence(p.fill, p.samples)
				packets[channel] = p.fill[begin:len(p.fill):len(p.fill)]
			}
		}
		if err := p.muxer.WritePacket(int(p.samples), packets[0], packets[1]); err != nil {
			return err
		}
		at[0], at[1] = at[0][:0], at[1][:0]
		p.next++
	}
	return nil
}

// silence appends a packet for a place at which nothing was said. A short gap decoders
// conceal: their packet has frames of no length (RFC 6716 §2.1.9). Beyond, they would make
// noise of it, so it is silence that is encoded.
func (s *spoken) silence(dst []byte, samples int64) []byte {
	s.gap += samples
	if s.count > 0 && s.gap <= samplesAt(maxConcealed, opusClockHz) {
		return opus.AppendFrames(dst, s.toc, s.count, nil)
	}
	return opus.AppendSilence(dst, int(samples))
}

// survey says whether the packets of a spool can be kept as they came: how many samples at
// 48 kHz each has, or why not.
func survey(job Job, hz int64, e edits) (samples int64, why string, err error) {
	switch {
	case len(e.notice) > 0:
		return 0, "it begins with a notice", nil
	case len(e.silent[0])+len(e.silent[1])+len(e.cut) > 0:
		return 0, "some of it is left out", nil
	case hz != opusClockHz:
		return 0, "not both parties began with Opus", nil
	}
	in, err := spool.Open(job.Spool, job.Keys)
	if err != nil {
		return 0, "", err
	}
	defer in.Close() // it was only read
	var s surveyor
	for leg, l := range in.Header.Legs {
		s.codings[leg] = newCodings()
		s.codings[leg].change(-1<<63, l.Codecs)
	}
	for s.why == "" {
		frame, err := in.Next()
		if err == io.EOF || err == spool.ErrTorn {
			break
		}
		if err != nil {
			return 0, "", err
		}
		switch f := frame.(type) {
		case spool.Batch:
			s.batch(f, in.Header)
		case spool.Event:
			if f.Kind == spool.CodecsChanged {
				s.codings[f.Leg].change(f.At.Sub(in.Header.Began), f.Codecs)
			}
		}
	}
	if s.why == "" && s.samples == 0 {
		s.why = "nobody said anything"
	}
	return s.samples, s.why, nil
}

// surveyor looks at what a call sent.
type surveyor struct {
	codings [2]*codings
	samples int64 // of every packet so far; 0 before there is one
	heard   [2][]heardSSRC
	why     string // the packets cannot be kept; "" while they can
}

// heardSSRC is when packets of an SSRC came last.
type heardSSRC struct {
	ssrc uint32
	at   int64
}

// overlap is for how long two streams of a party may both be heard: the last packets of the
// one come after the first of the next.
const overlap = 2e9 // ns

func (s *surveyor) batch(b spool.Batch, h spool.Header) {
	for packets := b.Packets; len(packets) > 0 && s.why == ""; {
		ns, raw, rest, err := rtp.NextCaptured(packets)
		if err != nil {
			return
		}
		packets = rest
		header, err := rtp.Parse(raw)
		if err != nil {
			continue
		}
		c := s.codings[b.Leg].at(header.PayloadType, durationSince(h, ns))
		if !c.isAudio() {
			continue
		}
		payload := raw[header.PayloadOffset:header.PayloadEnd]
		if c.name != "OPUS" {
			s.why = fmt.Sprintf("the %v sent %s", b.Leg, c.name)
			return
		}
		n := c.ticks(payload)
		switch {
		case n == 0: // no packet
			continue
		case opus.Stereo(payload):
			s.why = fmt.Sprintf("the %v sent stereo", b.Leg)
		case s.samples == 0:
			s.samples = n
		case n != s.samples:
			s.why = fmt.Sprintf("packets of %v and %v", durationOf(s.samples, opusClockHz), durationOf(n, opusClockHz))
		}
		s.stream(b.Leg, header.SSRC, ns)
	}
}

// stream notes that a stream was heard: one that comes again, after another one, is one of
// two at once, which would have to be mixed.
func (s *surveyor) stream(leg rtp.Leg, ssrc uint32, ns int64) {
	heard := s.heard[leg]
	last := len(heard) - 1
	for i := range heard {
		if heard[i].ssrc != ssrc {
			continue
		}
		if i < last && ns-heard[i].at > overlap {
			s.why = fmt.Sprintf("the %v sent two streams at once", leg)
		}
		if i == last {
			heard[i].at = ns
		}
		return
	}
	if len(heard) == maxStreams {
		s.why = fmt.Sprintf("the %v sent more than %d streams", leg, maxStreams)
		return
	}
	s.heard[leg] = append(heard, heardSSRC{ssrc, ns})
}
