package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// matcher is a Match made ready.
type matcher struct {
	Match
	from, to numbers
	window   *window
	headers  []header // in the order of their names
}

// header is what a header's values are held against.
type header struct {
	name   string // in lower case
	values []pattern
}

func (c Config) newMatcher(m Match, n numbering) (matcher, error) {
	made := matcher{Match: m}
	for _, side := range []struct {
		texts   []string
		numbers *numbers
	}{{m.From, &made.from}, {m.To, &made.to}} {
		patterns, err := c.patterns(side.texts, n)
		if err != nil {
			return matcher{}, err
		}
		*side.numbers = newNumbers(patterns)
	}
	if m.Time != nil {
		w, faults := m.Time.parse(c.Holidays)
		if len(faults) > 0 {
			return matcher{}, faults[0]
		}
		made.window = &w
	}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		h := header{name: strings.ToLower(name)}
		for _, value := range m.Header[name] {
			start, prefix := strings.CutSuffix(strings.ToLower(value), "*")
			h.values = append(h.values, pattern{start, prefix})
		}
		made.headers = append(made.headers, h)
	}
	return made, nil
}

// has reports whether a header with these values is there.
func (h header) has(values []string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		value = strings.ToLower(strings.TrimSpace(value))
		return slices.ContainsFunc(h.values, func(p pattern) bool {
			return value == p.text || p.prefix && strings.HasPrefix(value, p.text)
		})
	})
}

// view is a call as rules see it.
type view struct {
	Facts
	caller, callee string // normalised
	country        string // of the far party
}

func (p *Policy) view(f Facts) view {
	v := view{Facts: f, caller: p.numbers.normalise(f.Caller), callee: p.numbers.normalise(f.Callee)}
	if v.country = f.Country; v.country == "" && p.countries {
		v.country = p.numbers.countryOf(v.far())
	}
	return v
}

// far is the number of the party outside.
func (v view) far() string {
	if v.Direction == Outbound {
		return v.callee
	}
	return v.caller
}

// condition is one thing that a Match may ask of a call; the empty one is none.
type condition string

const (
	byDirection condition = "direction"
	byTrunk     condition = "trunk"
	byCaller    condition = "from"
	byCallee    condition = "to"
	byCountry   condition = "country"
	byTime      condition = "time"
	byForwarded condition = "forwarded"
	byHeader    condition = "header"
)

// mismatch returns the first condition that the call does not meet, if any.
func (m matcher) mismatch(v *view) condition {
	switch {
	case m.Direction != "" && v.Direction != m.Direction:
		return byDirection
	case !m.trunks(v.FromTrunk, v.ToTrunk):
		return byTrunk
	case !m.from.none() && !m.from.has(v.caller):
		return byCaller
	case !m.to.none() && !m.to.has(v.callee):
		return byCallee
	case len(m.Country) > 0 && !slices.Contains(m.Country, v.country):
		return byCountry
	case m.window != nil && !m.window.holds(v.Time):
		return byTime
	case m.Forwarded != nil && *m.Forwarded != v.forwarded():
		return byForwarded
	}
	for _, h := range m.headers {
		if !h.has(v.Headers[h.name]) {
			return byHeader
		}
	}
	return ""
}

func (m matcher) trunks(from, to string) bool {
	return len(m.Trunk) == 0 || slices.Contains(m.Trunk, from) || slices.Contains(m.Trunk, to)
}

// why puts a mismatch in words, for whoever asks with numbers of his own: they are whole.
func (m matcher) why(unmet condition, v *view) string {
	switch unmet {
	case byDirection:
		return fmt.Sprintf("direction is %s, not %s", v.Direction, m.Direction)
	case byTrunk:
		return fmt.Sprintf("trunks are %s and %s, not %s", v.FromTrunk, v.ToTrunk, strings.Join(m.Trunk, " or "))
	case byCaller:
		return fmt.Sprintf("caller %s is not among from", v.caller)
	case byCallee:
		return fmt.Sprintf("callee %s is not among to", v.callee)
	case byCountry:
		return fmt.Sprintf("the far party's country is %s, not %s", v.country, strings.Join(m.Country, " or "))
	case byTime:
		local := v.Time.In(m.window.zone)
		if m.window.holidays[dateOf(local)] && !m.window.only {
			return fmt.Sprintf("%s is a holiday", local.Format("2006-01-02 15:04 MST"))
		}
		return fmt.Sprintf("%s is outside the window", local.Format("Mon 15:04 MST"))
	case byForwarded:
		if v.forwarded() {
			return "the call is forwarded"
		}
		return "the call is not forwarded"
	case byHeader:
		for _, h := range m.headers {
			if values := v.Headers[h.name]; !h.has(values) {
				return fmt.Sprintf("header %s is %s", h.name, cutList(values))
			}
		}
	}
	return "matches"
}

// cutList writes values of a header.
func cutList(values []string) string {
	if len(values) == 0 {
		return "not there"
	}
	return fmt.Sprintf("%.80q, which does not fit", strings.Join(values, ", "))
}
