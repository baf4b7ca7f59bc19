package journal

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Defect is something that is wrong with a chain.
type Defect struct {
	Number uint64 // of the entry
	What   string
}

func (d Defect) String() string { return fmt.Sprintf("journal entry %d: %s", d.Number, d.What) }

// Chain checks entries as they come, the first first.
type Chain struct {
	told map[uint64][]Hash
	head Head
	last time.Time
}

// NewChain checks a chain from its first entry. Heads are those that were told earlier:
// one that is not in the chain shows that it was rolled back or written anew.
func NewChain(told ...Head) *Chain {
	c := &Chain{told: map[uint64][]Hash{}}
	for _, h := range told {
		c.told[h.Number] = append(c.told[h.Number], h.Hash)
	}
	return c
}

// Head is that of the entries seen.
func (c *Chain) Head() Head { return c.head }

// Add checks that an entry follows those before, and returns it with what is wrong.
// Number is that under which it was kept.
func (c *Chain) Add(number uint64, line []byte) (Entry, []Defect) {
	var defects []Defect
	defect := func(format string, args ...any) {
		defects = append(defects, Defect{number, fmt.Sprintf(format, args...)})
	}
	follows := number == c.head.Number+1
	switch wanted := c.head.Number + 1; {
	case number > wanted:
		defect("entries %d to %d are missing before it", wanted, number-1)
	case number < wanted:
		defect("it comes after entry %d", c.head.Number)
	}
	e, err := Decode(line)
	if err != nil {
		defect("it cannot be read: %v", err)
	} else {
		if e.Number != number {
			defect("it says that it is entry %d", e.Number)
		}
		if follows && e.Previous != c.head.Hash {
			defect("it names %s as the entry before it, which has the hash %s: one of both was changed", e.Previous, c.head.Hash)
		}
		if c.last.Sub(e.At) > backwards {
			defect("it is of %s, an entry before it of %s", e.At.Format(time.RFC3339), c.last.Format(time.RFC3339))
		}
		c.last = e.At
	}
	c.head = Head{number, HashOf(line)}
	for _, hash := range c.told[number] {
		if hash != c.head.Hash {
			defect("it has the hash %s, and %s was told before: the journal was written anew", c.head.Hash, hash)
		}
	}
	return e, defects
}

// backwards is how far a clock may go back between two entries: what NTP corrects.
const backwards = 5 * time.Minute

// End reports the heads that were told and that the chain does not reach.
func (c *Chain) End() (defects []Defect) {
	for _, number := range slices.Sorted(maps.Keys(c.told)) {
		if number > c.head.Number {
			defects = append(defects, Defect{number, fmt.Sprintf("it was told before and is not there: the journal ends with entry %d: it was rolled back, or that was told after the snapshot was taken", c.head.Number)})
		}
	}
	return defects
}
