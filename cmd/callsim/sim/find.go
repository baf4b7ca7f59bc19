package sim

import "math"

// Found is a prompt that was looked for in what was heard.
type Found struct {
	At      int // sample at which the prompt begins, or would; may be in front of the first
	Of      int // stretches of 20 ms of the prompt that have sound
	Missing int // those of them that were not heard in their place
	First   int // sample of the prompt at which the first missing one begins
}

// Whole reports whether all of the prompt was heard, without a gap.
func (f Found) Whole() bool { return f.Of > 0 && f.Missing == 0 }

const (
	anchorSamples = 800 // by which a prompt is found
	// alike is the least correlation of what is the same sound through G.711, and resampled.
	alike = 0.9
	// audible is the mean amplitude of what has sound: about −46 dB of full scale.
	audible = 160
)

// Find looks for a prompt in what was heard: where a loud part of it is heard the best, and
// whether the rest is in its place around it. Both have 8000 samples a second. It returns
// false where no part of the prompt was heard.
func Find(heard, prompt []int16) (f Found, ok bool) {
	for third := range 3 { // whatever part was cut off, another is there
		part := prompt[third*len(prompt)/3 : (third+1)*len(prompt)/3]
		anchor := loudest(part)
		if anchor < 0 {
			continue
		}
		anchor += third * len(prompt) / 3
		at, likeness := place(heard, prompt[anchor:anchor+anchorSamples])
		if likeness < alike {
			continue
		}
		if got := compare(heard, prompt, at-anchor); !ok || got.Missing < f.Missing {
			f, ok = got, true
		}
	}
	return f, ok
}

// loudest returns where the loudest anchor of some samples begins, -1 for none.
func loudest(samples []int16) int {
	best, at := 0.0, -1
	for from := 0; from+anchorSamples <= len(samples); from += frameSamples {
		if e := energy(samples[from : from+anchorSamples]); e > best {
			best, at = e, from
		}
	}
	if best < audible*audible*anchorSamples {
		return -1
	}
	return at
}

// place returns where samples are most like what was heard.
func place(heard, samples []int16) (at int, likeness float64) {
	own := energy(samples)
	if len(heard) < len(samples) {
		return 0, 0
	}
	there := energy(heard[:len(samples)])
	for from := 0; ; from++ {
		if there > 0 {
			if r := product(heard[from:from+len(samples)], samples) / math.Sqrt(own*there); r > likeness {
				at, likeness = from, r
			}
		}
		if from+len(samples) == len(heard) {
			return at, likeness
		}
		gone, came := float64(heard[from]), float64(heard[from+len(samples)])
		there += came*came - gone*gone
	}
}

// compare holds a prompt against what was heard from a sample on, stretch by stretch.
func compare(heard, prompt []int16, at int) Found {
	f := Found{At: at, First: -1}
	for from := 0; from+frameSamples <= len(prompt); from += frameSamples {
		want := prompt[from : from+frameSamples]
		own := energy(want)
		if own < audible*audible*frameSamples {
			continue
		}
		f.Of++
		missing := true
		if begin := at + from; begin >= 0 && begin+frameSamples <= len(heard) {
			got := heard[begin : begin+frameSamples]
			missing = product(got, want) <= alike*math.Sqrt(own*energy(got)) // silence is like nothing
		}
		if missing {
			if f.Missing++; f.First < 0 {
				f.First = from
			}
		}
	}
	return f
}

func energy(samples []int16) float64 { return product(samples, samples) }

func product(a, b []int16) (sum float64) {
	total := int64(0)
	for i, x := range a {
		total += int64(x) * int64(b[i])
	}
	return float64(total)
}
