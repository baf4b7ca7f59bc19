package journal

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// chain writes a chain of n entries, a minute between two.
func chain(t testing.TB, n int) (lines [][]byte, heads []Head) {
	t.Helper()
	var head Head
	for i := range n {
		line, next, err := head.Next(Entry{At: noon.Add(time.Duration(i) * time.Minute), Actor: "anna (uid 1000)", Action: Export, Object: "id", Reason: "a <reason> & more"})
		if err != nil {
			t.Fatal(err)
		}
		lines, heads, head = append(lines, line), append(heads, next), next
	}
	return lines, heads
}

// verify returns what is wrong with lines that are kept under the numbers from 1.
func verify(lines [][]byte, told ...Head) []string {
	c := NewChain(told...)
	var found []string
	for i, line := range lines {
		_, defects := c.Add(uint64(i+1), line)
		for _, d := range defects {
			found = append(found, d.String())
		}
	}
	for _, d := range c.End() {
		found = append(found, d.String())
	}
	return found
}

// An entry is one line of JSON in a fixed form, and its hash is of that line alone.
func TestEncode(t *testing.T) {
	lines, heads := chain(t, 2)
	want := `{"number":1,"at":"2026-11-24T12:00:00Z","actor":"anna (uid 1000)","action":"export","object":"id","reason":"a <reason> & more",` +
		`"previous":"0000000000000000000000000000000000000000000000000000000000000000"}`
	if got := string(lines[0]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// From sha256sum, of the line above.
	if got, want := heads[0].Hash.String(), "7abef4fac30f3213a6f371e2771b7f9bfcc91506564ca82b96c855174fa9c488"; got != want {
		t.Errorf("got hash %s, want %s", got, want)
	}
	if !bytes.Contains(lines[1], []byte(`"previous":"`+heads[0].Hash.String()+`"`)) {
		t.Errorf("got %s, want it to name %s", lines[1], heads[0].Hash)
	}
}

// What no entry can be is refused before it is in the chain.
func TestEncodeRefuses(t *testing.T) {
	good := Entry{Number: 1, At: noon, Actor: "daemon", Action: Export}
	for name, change := range map[string]func(*Entry){
		"no number": func(e *Entry) { e.Number = 0 }, "no actor": func(e *Entry) { e.Actor = "" }, "no action": func(e *Entry) { e.Action = "burn" },
		"two lines": func(e *Entry) { e.Reason = "a\nb" }, "not UTF-8": func(e *Entry) { e.Object = "\xff" },
		"long": func(e *Entry) { e.Reason = strings.Repeat("x", maxText+1) }, "year 10000": func(e *Entry) { e.At = noon.AddDate(8000, 0, 0) },
	} {
		e := good
		change(&e)
		if line, err := e.Encode(); err == nil {
			t.Errorf("%s: got %s, want an error", name, line)
		}
	}
	if _, err := good.Encode(); err != nil {
		t.Error(err)
	}
}

// A chain that nobody touched has no defects; each way of touching it has one that
// says what was done.
func TestChain(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(lines [][]byte, heads []Head) ([][]byte, []Head)
		want []string // each in a defect of its own, in their order
	}{
		{"untouched", func(l [][]byte, h []Head) ([][]byte, []Head) { return l, h }, nil},
		{"one word", func(l [][]byte, h []Head) ([][]byte, []Head) {
			l[1] = bytes.Replace(l[1], []byte("anna"), []byte("bert"), 1)
			return l, nil
		}, []string{"entry 3: it names"}},
		{"one word of the last, head told", func(l [][]byte, h []Head) ([][]byte, []Head) {
			l[4] = bytes.Replace(l[4], []byte("anna"), []byte("bert"), 1)
			return l, h[4:]
		}, []string{"entry 5: it has the hash"}},
		{"a blank", func(l [][]byte, h []Head) ([][]byte, []Head) {
			l[1] = bytes.Replace(l[1], []byte(":2,"), []byte(": 2,"), 1)
			return l, nil
		}, []string{"entry 2: it cannot be read: read journal entry 2: not in the form", "entry 3: it names"}},
		{"one left out", func(l [][]byte, h []Head) ([][]byte, []Head) { return append(l[:1], l[2:]...), nil },
			[]string{"entry 2: it says that it is entry 3", "entry 2: it names", "entry 3: it says", "entry 4: it says"}},
		{"rolled back", func(l [][]byte, h []Head) ([][]byte, []Head) { return l[:3], h[4:] }, []string{"entry 5: it was told before and is not there"}},
		{"emptied", func(l [][]byte, h []Head) ([][]byte, []Head) { return nil, h[:1] }, []string{"entry 1: it was told before and is not there"}},
	} {
		lines, told := c.with(chain(t, 5))
		got := verify(lines, told...)
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q, want %d defects", c.name, got, len(c.want))
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: got %q, want %q in it", c.name, got[i], want)
			}
		}
	}
}

// Keys that are missing are named, once, and what follows them is checked as before.
func TestChainWithHole(t *testing.T) {
	lines, _ := chain(t, 5)
	c := NewChain()
	var got []string
	for _, number := range []uint64{1, 4, 5} {
		_, defects := c.Add(number, lines[number-1])
		for _, d := range defects {
			got = append(got, d.String())
		}
	}
	if diff := cmp.Diff([]string{"journal entry 4: entries 2 to 3 are missing before it"}, got); diff != "" {
		t.Errorf("defects, -want +got:\n%s", diff)
	}
}

// Every change of one bit of a chain is found, if its head is known.
func TestAnyBit(t *testing.T) {
	lines, heads := chain(t, 4)
	rapid.Check(t, func(t *rapid.T) {
		changed := make([][]byte, len(lines))
		for i := range lines {
			changed[i] = bytes.Clone(lines[i])
		}
		line := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		bit := rapid.IntRange(0, 8*len(lines[line])-1).Draw(t, "bit")
		changed[line][bit/8] ^= 1 << (bit % 8)
		if len(verify(changed, heads[len(heads)-1])) == 0 {
			t.Fatalf("no defect in %s", changed[line])
		}
	})
}

// What is read is what was written, byte for byte, and nothing else is read.
func FuzzDecode(f *testing.F) {
	lines, _ := chain(f, 2)
	for _, line := range lines {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := Decode(line)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(line, again) {
			t.Errorf("got %s, %v, want %s", again, err, line)
		}
	})
}
