// Package dtmf hears the keys that a party presses in audio of G.711: pairs of tones, one
// of the row of the key and one of its column (ITU-T Q.23), within the limits of ITU-T Q.24.
//
//	payloads ─▶ blocks of 6.5 ms ─▶ Goertzel, eight tones ─▶ five blocks agree ─▶ key down
//	                                                         three blocks lack it ─▶ Digit
//
// A tone of 40 ms always has five whole blocks, one of 26 ms never. In those five a tone's
// frequency is told by how its phase goes on from block to block, finer than a block by itself
// could tell it, and what is not in the two tones must be little: speech has much of it.
//
// It knows nothing of who pressed, or of what a key means. It does not allocate, and its
// detectors have no clock but the stream's timestamps.
package dtmf

import (
	"math"
	"math/cmplx"

	"github.com/bewaard/bewaard/media/g711"
)

const (
	clockHz = 8000
	// block is samples that are looked at at once: 6.5 ms.
	block = 52
	// onset is how many blocks in a row must have the tones for a key to be down. Q.24 wants
	// 40 ms heard, and 23 ms not.
	onset = 5
	// release is how many must lack them for it to be up. Q.24 wants 40 ms to part two keys,
	// and a hole of 10 ms not.
	release = 3
	// maxHole is how much lost audio a key that is down stays down for.
	maxHole = 60 * clockHz / 1000
	// longest is how long a key is waited for to be let go, before it is told.
	longest = 2 * clockHz

	// minPower is of each tone in a block: −28 dBm0. Q.24 wants −25 heard (AT&T, the others
	// less), and −29 not (NTT); a sine of full scale has 3.14. A single block may have half.
	minPower = 909.0 * block / 2 * 909.0 * block / 2
	// A row may be up to 8 dB above its column, a column 4 dB above its row; beside that the
	// tones disturb each other's measure.
	maxRowTwist    = 8.9 // 9.5 dB
	maxColumnTwist = 3.2 // 5 dB
	// maxOff is how much a frequency may be off, as a part of it. Q.24 wants 1.5 % heard,
	// and 3.5 % not.
	maxOff = 0.025
	// minPart is the least part of the energy of a block that is in the tones, minWhole that
	// of all five, as far as their phases go on evenly.
	minPart  = 0.55
	minWhole = 0.8
	// maxSwell is by how much a tone's energy may differ between the five blocks: the other
	// tone, where it is 8 dB stronger, has its part in that.
	maxSwell = 8.0
)

// tones are the rows' and the columns' (Q.23), in Hz.
var tones = [8]float64{697, 770, 852, 941, 1209, 1336, 1477, 1633}

// keys by row and column.
const keys = "123A456B789C*0#D"

// Law is how G.711 writes a sample.
type Law uint8

const (
	ALaw Law = iota
	MuLaw
)

// Digit is a key that was pressed and let go, or held for two seconds.
type Digit struct {
	Key byte // 0–9, *, #, A–D
	// From and To are timestamps of the stream between which its tones were heard, not more
	// than a block too far apart at either end.
	From, To uint32
}

// Detector hears the keys in one stream.
type Detector struct {
	heard func(Digit)

	begun bool
	next  uint32 // timestamp of the next sample
	fill  int    // samples in the block
	pcm   [block]int16

	recent [onset]spectrum // the latest blocks, the newest last
	known  int             // how many of them follow on each other

	down   pair  // the key that is down
	isDown bool  //
	told   bool  // of it
	digit  Digit // of it, so far
	absent int   // blocks in a row that lack it
}

// pair is a row's tone and a column's.
type pair struct{ row, column int }

func (p pair) key() byte { return keys[4*p.row+p.column-4] }

// spectrum is what a block has of each tone.
type spectrum struct {
	energy float64
	tones  [8]complex128
}

// New makes a detector, which calls heard from Take.
func New(heard func(Digit)) *Detector { return &Detector{heard: heard} }

// Reset forgets what was heard: another stream begins. A key that is down is told.
func (d *Detector) Reset() {
	d.up()
	d.begun, d.fill, d.known = false, 0, 0
}

// Take takes the payload of the next packet. Lost audio is nothing that was heard: a key
// stays down for 60 ms of it. A packet that comes too late is passed over.
func (d *Detector) Take(timestamp uint32, law Law, payload []byte) {
	switch gap := int32(timestamp - d.next); {
	case !d.begun:
	case gap < 0 && gap > -clockHz:
		return
	case gap < 0 || gap > maxHole:
		d.Reset()
	case gap > 0:
		d.fill, d.known = 0, 0
	}
	d.begun, d.next = true, timestamp
	for len(payload) > 0 {
		n := min(block-d.fill, len(payload))
		if law == ALaw {
			g711.DecodeALaw(d.pcm[d.fill:d.fill+n], payload[:n])
		} else {
			g711.DecodeMuLaw(d.pcm[d.fill:d.fill+n], payload[:n])
		}
		payload = payload[n:]
		d.fill += n
		d.next += uint32(n)
		if d.fill == block {
			d.fill = 0
			d.hear()
		}
	}
}

// hear takes the block that is full.
func (d *Detector) hear() {
	copy(d.recent[:], d.recent[1:])
	now := &d.recent[onset-1]
	now.measure(&d.pcm)
	d.known = min(d.known+1, onset)
	if d.isDown {
		if now.has(d.down) {
			d.absent = 0
			d.digit.To = d.next
		} else if d.absent++; d.absent == release {
			d.up()
		}
		if !d.told && d.next-d.digit.From > longest {
			d.tell()
		}
	}
	if p, ok := d.pressed(); ok && (!d.isDown || p != d.down) {
		d.up()
		d.down, d.isDown, d.told, d.absent = p, true, false, 0
		d.digit = Digit{p.key(), d.next - onset*block, d.next}
	}
}

// up ends the key that is down.
func (d *Detector) up() {
	if d.isDown && !d.told {
		d.tell()
	}
	d.isDown = false
}

func (d *Detector) tell() {
	d.told = true
	digit := d.digit
	digit.From -= block // its edges are within blocks that did not count
	digit.To += block
	d.heard(digit)
}

// pressed reports which key's tones the latest blocks have.
func (d *Detector) pressed() (p pair, ok bool) {
	if d.known < onset {
		return p, false
	}
	energy, power := 0.0, [8]float64{}
	for i := range d.recent {
		energy += d.recent[i].energy
		for tone, x := range d.recent[i].tones {
			power[tone] += squared(x)
		}
	}
	p = pair{strongest(power[:], 0), strongest(power[:], 4)}
	for i := range d.recent {
		if !d.recent[i].has(p) {
			return p, false
		}
	}
	row, rowOK := d.steady(p.row)
	column, columnOK := d.steady(p.column)
	return p, rowOK && columnOK && min(row, column) >= onset*minPower && (row+column)*2/block >= minWhole*energy &&
		row <= maxRowTwist*column && column <= maxColumnTwist*row
}

// strongest returns the strongest of four tones.
func strongest(power []float64, first int) int {
	best := first
	for tone := first; tone < first+4; tone++ {
		if power[tone] > power[best] {
			best = tone
		}
	}
	return best
}

// steady returns how strong a tone is in all of the latest blocks, as far as its phase goes on
// evenly from one to the next, and whether it has the frequency and does not swell.
func (d *Detector) steady(tone int) (power float64, ok bool) {
	least, most := math.Inf(1), 0.0
	var turn complex128
	for i := range d.recent {
		x := d.recent[i].tones[tone]
		least, most = min(least, squared(x)), max(most, squared(x))
		if i > 0 {
			turn += x * cmplx.Conj(d.recent[i-1].tones[tone]) * back[tone]
		}
	}
	off := cmplx.Phase(turn) // what a block's time adds to the phase beside the tone's own
	if most > maxSwell*least || math.Abs(off) > maxOff*2*math.Pi*tones[tone]*block/clockHz {
		return 0, false
	}
	var sum complex128
	against, step := complex(1, 0), back[tone]*cmplx.Rect(1, -off)
	for i := range d.recent {
		sum += d.recent[i].tones[tone] * against
		against *= step
	}
	return squared(sum) / onset, true
}

// has reports whether a block is made of a key's tones.
func (s *spectrum) has(p pair) bool {
	row, column := squared(s.tones[p.row]), squared(s.tones[p.column])
	return min(row, column) >= minPower/2 && (row+column)*2/block >= minPart*s.energy
}

// measure has the spectrum of a block: Goertzel's way, each tone with its phase at the
// block's end.
func (s *spectrum) measure(pcm *[block]int16) {
	s.energy = 0
	var one, two [8]float64 // the filters' last values
	for _, sample := range pcm {
		x := float64(sample)
		s.energy += x * x
		for tone := range one {
			one[tone], two[tone] = x+twice[tone]*one[tone]-two[tone], one[tone]
		}
	}
	for tone := range one {
		s.tones[tone] = complex(one[tone], 0) - conjugate[tone]*complex(two[tone], 0)
	}
}

func squared(x complex128) float64 { return real(x)*real(x) + imag(x)*imag(x) }

// For each tone: twice its cosine, what it turns by in a sample, backwards, and in a block.
var twice, conjugate, back = constants()

func constants() (twice [8]float64, conjugate, back [8]complex128) {
	for tone, hz := range tones {
		turn := 2 * math.Pi * hz / clockHz
		twice[tone] = 2 * math.Cos(turn)
		conjugate[tone] = cmplx.Rect(1, -turn)
		back[tone] = cmplx.Rect(1, -turn*block)
	}
	return twice, conjugate, back
}
