package policy

import (
	"fmt"
	"strings"
)

// pattern is what a rule says of a number: +31201234567 and 201 are that number, +31*
// and 2* all that begin so, * is everyone, and anonymous who withholds his number.
type pattern struct {
	text   string // number, or what it begins with
	prefix bool
}

func parsePattern(text string, n numbering) (pattern, error) {
	fail := func(why string) (pattern, error) {
		return pattern{}, fmt.Errorf("pattern %.40q: %s", text, why)
	}
	if strings.EqualFold(text, Withheld) {
		return pattern{text: Withheld}, nil
	}
	if start, ok := strings.CutSuffix(text, "*"); ok {
		switch digits := strings.TrimPrefix(start, "+"); {
		case strings.Trim(digits, "0123456789") != "":
			return fail("before the * go digits, such as +3120*")
		case strings.HasPrefix(start, "0"):
			return fail("the beginning of a number is written with its country code, such as " + n.code + "20*")
		case len(digits) > maxDigits:
			return fail("too long for a number")
		case start != digits && !hasCode(digits):
			return fail("no country has a code that begins so")
		}
		return pattern{start, true}, nil
	}
	dialled, ok := dialledDigits(text)
	switch {
	case !ok:
		return fail("neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous")
	case strings.ContainsAny(dialled, "*#") && !strings.ContainsAny(dialled[:1], "*#"): // *21 is dialled so
		return fail("the * for what follows stands at the end only, such as +31*")
	case strings.HasPrefix(dialled, "+") && !hasCode(dialled[1:]):
		return fail("no country has a code that begins so")
	case strings.HasPrefix(dialled, "+") && !n.whole(dialled):
		return fail(fmt.Sprintf("%s is no whole number; %s* is all that begin so", dialled, dialled))
	}
	return pattern{text: n.normalise(dialled)}, nil
}
