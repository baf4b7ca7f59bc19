package policy

import "testing"

func TestPattern(t *testing.T) {
	n := newNumbering("NL", nil)
	for _, c := range []struct {
		pattern, number string
		want            bool
	}{
		{"+31201234567", "020 123 4567", true},
		{"+31201234567", "+31201234568", false},
		{"020-1234567", "0031201234567", true},
		{"+31*", "0612345678", true},
		{"+31*", "+3212345678", false},
		{"+31*", "anonymous", false},
		{"+31*", "31", false},
		{"+*", "0612345678", true},
		{"+*", "201", false},
		{"201", "201", true},
		{"201", "2011", false},
		{"*21", "*21", true},
		{"+3114020", "+3114020", true},
		{"+99*", "+992372123456", true},
		{"+88*", "+8821234567", true},
		{"2*", "299", true},
		{"2*", "0201234567", false},
		{"*", "0612345678", true},
		{"*", "", true},
		{"anonymous", "", true},
		{"Anonymous", "sip:anonymous@anonymous.invalid", true},
		{"anonymous", "0612345678", false},
	} {
		p, err := parsePattern(c.pattern, n)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		} else if got := newNumbers([]pattern{p}).has(n.normalise(c.number)); got != c.want {
			t.Errorf("%s against %q: got %v, want %v", c.pattern, c.number, got, c.want)
		}
	}
}

func TestPatternFaults(t *testing.T) {
	n := newNumbering("NL", nil)
	for text, want := range map[string]string{
		"":                   `pattern "": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous`,
		"alice":              `pattern "alice": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous`,
		"020*":               `pattern "020*": the beginning of a number is written with its country code, such as +3120*`,
		"0031*":              `pattern "0031*": the beginning of a number is written with its country code, such as +3120*`,
		"+31*20*":            `pattern "+31*20*": before the * go digits, such as +3120*`,
		"+31 20*":            `pattern "+31 20*": before the * go digits, such as +3120*`,
		"+31*5":              `pattern "+31*5": the * for what follows stands at the end only, such as +31*`,
		"2*5":                `pattern "2*5": the * for what follows stands at the end only, such as +31*`,
		"+31":                `pattern "+31": +31 is no whole number; +31* is all that begin so`,
		"+3120":              `pattern "+3120": +3120 is no whole number; +3120* is all that begin so`,
		"+999":               `pattern "+999": no country has a code that begins so`,
		"+999123456789":      `pattern "+999123456789": no country has a code that begins so`,
		"+999*":              `pattern "+999*": no country has a code that begins so`,
		"+031*":              `pattern "+031*": no country has a code that begins so`,
		"+1234567890123456*": `pattern "+1234567890123456*": too long for a number`,
	} {
		if _, err := parsePattern(text, n); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A pattern that is a number matches that number, and one that begins a number matches
// every number beginning so.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"+31*", "+31201234567", "2*", "*", "anonymous", "020*", "+31(0)20 1234567", "**", "+"} {
		f.Add(seed)
	}
	n := newNumbering("NL", nil)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePattern(text, n)
		if err != nil {
			return
		}
		number := n.normalise(text)
		if p.prefix {
			number = p.text + "123"
		}
		if !newNumbers([]pattern{p}).has(number) {
			t.Errorf("%q does not match %s", text, number)
		}
	})
}
