package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

// search finds calls for rules. Each condition of a call (who calls, whom, when …) has some
// values to try, and of each value it is known which rules take it. A call is one value of each;
// it comes to the first rule that takes all of them.
type search struct {
	policy    *Policy
	ways      []way
	countries []string // that packs or rules tell apart, and one that they do not
}

// way is the trunks that a call passes, and the values of everything else.
type way struct {
	from, to  Trunk
	direction Direction
	rules     rules // that take calls of this way at all
	axes      []axis
	far       int // the axis of the far party's number
}

// through reports whether both parties of the way's calls are outside.
func (w way) through() bool { return w.from.Side == "external" && w.to.Side == "external" }

// axis is one condition and its values, no two of which the same rules take.
type axis struct{ values []value }

// value is one, with what it makes of the facts.
type value struct {
	rules   rules // that take it
	country string
	set     func(*Facts)
}

// rules is a set of them, by index.
type rules []uint64

func newRules(n int, has func(i int) bool) rules {
	r := make(rules, (n+63)/64)
	for i := range n {
		if has(i) {
			r[i/64] |= 1 << (i % 64)
		}
	}
	return r
}

func (r rules) has(i int) bool { return r[i/64]&(1<<(i%64)) != 0 }

func (r rules) and(other rules) rules {
	both := make(rules, len(r))
	for i := range r {
		both[i] = r[i] & other[i]
	}
	return both
}

// first is the first in the set, -1 for none.
func (r rules) first(n int) int {
	for i := range n {
		if r.has(i) {
			return i
		}
	}
	return -1
}

// worse reports whether a value takes a call into every earlier rule that another takes it into.
func (r rules) worse(other rules, before int) bool {
	for i := range before {
		if other.has(i) && !r.has(i) {
			return false
		}
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (p *Policy) newSearch(trunks []Trunk, now time.Time) *search {
	s := &search{policy: p}
	byName := map[string]Trunk{}
	for _, t := range trunks {
		byName[t.Name] = t
	}
	s.countries = p.toldApart()
	times, callers, callees := p.times(now), p.numbersOf(phonenumbers.MOBILE, s.countries, func(m matcher) numbers { return m.from }), p.numbersOf(phonenumbers.FIXED_LINE, s.countries, func(m matcher) numbers { return m.to })
	called := slices.DeleteFunc(callees, func(n string) bool { return n == Withheld }) // nobody is
	for _, t := range trunks {
		to, ok := byName[t.Route]
		if !ok {
			continue
		}
		w := way{from: t, to: to, direction: Outbound}
		if t.Side == "external" {
			w.direction = Inbound
		}
		w.rules = newRules(len(p.rules), func(i int) bool {
			m := p.rules[i]
			return (m.Direction == "" || m.Direction == w.direction) && m.trunks(t.Name, to.Name)
		})
		inbound := w.direction == Inbound
		if !inbound {
			w.far = 1
		}
		w.axes = append(w.axes,
			p.parties(append(callers, Withheld), inbound, func(m matcher) numbers { return m.from }, func(f *Facts, n string) { f.Caller = n }),
			p.parties(called, !inbound, func(m matcher) numbers { return m.to }, func(f *Facts, n string) { f.Callee = n }),
			p.moments(times), p.forwards(w.through()))
		for _, name := range p.Headers() {
			w.axes = append(w.axes, p.headerValues(name, t.Trusted))
		}
		s.ways = append(s.ways, w)
	}
	return s
}

// maxTries bounds the choices that are looked at for one rule and way: some seconds' worth.
const maxTries = 1_000_000

// facts are those of a call with these values.
func (w way) facts(values []value) Facts {
	f := Facts{
		Direction: w.direction, FromTrunk: w.from.Name, ToTrunk: w.to.Name, FromSide: w.from.Side, ToSide: w.to.Side,
	}
	for _, v := range values {
		v.set(&f)
	}
	return f
}

// call finds a call that comes to a rule this way, of a country that may be if that is asked.
func (s *search) call(w way, rule int, from func(country string) bool) (Facts, bool) {
	values, ok := w.first(s.axesFor(w, rule, from), rule)
	if !ok {
		return Facts{}, false
	}
	f := w.facts(values)
	if r := s.policy.cfg.Rules[rule]; r.records() {
		for n := 1; !r.Record.Sample.takes(f.ID); n++ {
			f.ID = "sample-" + strconv.Itoa(n)
		}
	}
	return f, true
}

// axesFor leaves of each axis the values that the rule takes, but for those that earlier rules
// take all the more.
func (s *search) axesFor(w way, rule int, from func(country string) bool) []axis {
	var axes []axis
	for i, a := range w.axes {
		var left []value
		for _, v := range a.values {
			if !v.rules.has(rule) || i == w.far && from != nil && !from(v.country) {
				continue
			}
			if !slices.ContainsFunc(left, func(l value) bool { return v.rules.worse(l.rules, rule) }) {
				left = append(left, v)
			}
		}
		axes = append(axes, axis{left})
	}
	return axes
}

// first returns a value of each axis that no rule before takes all of.
func (w way) first(axes []axis, rule int) (found []value, ok bool) {
	if !w.rules.has(rule) {
		return nil, false
	}
	tries := 0
	w.walk(axes, w.rules, nil, func(values []value, all rules) bool {
		if tries++; all.first(rule) < 0 {
			found, ok = slices.Clone(values), true
		}
		return !ok && tries < maxTries
	})
	return found, ok
}

// winners are the rules that take the calls which match a later one.
func (s *search) winners(w way, rule int) []int {
	if !w.rules.has(rule) {
		return nil
	}
	var all []int
	tries := 0
	w.walk(s.axesFor(w, rule, nil), w.rules, nil, func(_ []value, takes rules) bool {
		if by := takes.first(rule); by >= 0 && !slices.Contains(all, by) {
			all = append(all, by)
		}
		tries++
		return tries < maxTries
	})
	return all
}

// walk visits every choice of values, until visit says that it is enough.
func (w way) walk(axes []axis, all rules, chosen []value, visit func([]value, rules) bool) bool {
	if len(axes) == 0 {
		return visit(chosen, all)
	}
	for _, v := range axes[0].values {
		if !w.walk(axes[1:], all.and(v.rules), append(chosen[:len(chosen):len(chosen)], v), visit) {
			return false
		}
	}
	return true
}

// add takes a value, if no other is like it.
func (a *axis) add(v value) {
	if !slices.ContainsFunc(a.values, func(w value) bool { return slices.Equal(v.rules, w.rules) && v.country == w.country }) {
		a.values = append(a.values, v)
	}
}

// parties are the numbers to try of one party; the far one has a country, which counts too.
func (p *Policy) parties(tried []string, far bool, side func(matcher) numbers, set func(*Facts, string)) (a axis) {
	alike := map[string]bool{} // of a long list a few are tried: those that begin alike are of one country
	for _, number := range tried {
		class := newRules(len(p.rules), func(i int) bool { return side(p.rules[i]).has(number) })
		key := fmt.Sprint(class, number[:min(len(number), 5)])
		if alike[key] {
			continue
		}
		country := ""
		if far {
			country = p.numbers.countryOf(number)
		}
		f := Facts{Direction: Inbound, Caller: number}
		v := p.view(f)
		if p.numbers.emergency(number) || v.caller != number || far && p.special(&v) || p.never.has(number) {
			continue
		}
		alike[key] = true
		a.add(value{
			rules: newRules(len(p.rules), func(i int) bool {
				m := p.rules[i]
				return (side(m).none() || side(m).has(number)) && (!far || len(m.Country) == 0 || slices.Contains(m.Country, country))
			}),
			country: country,
			set:     func(f *Facts) { set(f, number) },
		})
	}
	return a
}

// toldApart are the countries that rules and packs name, and two that stand for the rest.
func (p *Policy) toldApart() []string {
	named := map[string]bool{}
	for _, m := range p.rules {
		for _, country := range m.Country {
			named[country] = true
		}
	}
	if p.cfg.Packs != nil {
		for country := range p.cfg.Packs.ByCountry {
			named[country] = true
		}
	}
	named[Elsewhere] = true
	for _, other := range []string{"SE", "PT", "NZ"} {
		if !named[other] {
			named[other] = true
			break
		}
	}
	return sortedKeys(named)
}

// numbersOf are numbers to try, one of each class that the rules' patterns make, and of each
// country; those that look like calls of every day come first.
func (p *Policy) numbersOf(kind phonenumbers.PhoneNumberType, countries []string, side func(matcher) numbers) []string {
	var patterns []pattern
	for _, m := range p.rules {
		patterns = append(patterns, side(m).patterns...)
	}
	var all []string
	for _, country := range append([]string{p.numbers.country}, countries...) {
		all = append(all, example(country, kind)...)
	}
	all = append(all, "201")
	sorted := texts(append(patterns[:len(patterns):len(patterns)], p.never.patterns...)) // what is never recorded comes to no rule
	for _, pattern := range patterns {
		if !pattern.prefix {
			all = append(all, pattern.text)
		} else if number, ok := p.within(pattern.text, sorted); ok {
			all = append(all, number)
		}
	}
	for _, begin := range starts { // in no pattern, if there is such a number
		if number, ok := p.within(string(begin), sorted); ok {
			all = append(all, number)
		}
	}
	for _, country := range countries { // where the others are never recorded
		all = append(all, example(country, phonenumbers.MOBILE)...)
		all = append(all, example(country, phonenumbers.FIXED_LINE)...)
		if number, ok := p.within("+"+strconv.Itoa(phonenumbers.GetCountryCodeForRegion(country)), sorted); ok {
			all = append(all, number)
		}
	}
	return append(all, "+80012345678") // of no country
}

// example is a number of a country, if there is one of that kind.
func example(country string, kind phonenumbers.PhoneNumberType) []string {
	n := phonenumbers.GetExampleNumberForType(country, kind)
	if n == nil {
		return nil
	}
	return []string{phonenumbers.Format(n, phonenumbers.E164)}
}

// starts are what numbers begin with.
const starts = "+1234567890"

// within makes a number that begins so and that no longer one of sorted is, or begins.
func (p *Policy) within(begin string, sorted []string) (string, bool) {
	i, _ := slices.BinarySearch(sorted, begin)
	for i < len(sorted) && sorted[i] == begin {
		i++
	}
	if i == len(sorted) || !strings.HasPrefix(sorted[i], begin) {
		return p.pad(begin)
	}
	if len(begin) > maxDigits {
		return "", false
	}
	for _, letter := range starts[1:] {
		next := begin + string(letter)
		if _, taken := slices.BinarySearch(sorted, next); taken {
			continue
		}
		if number, ok := p.within(next, sorted); ok {
			return number, true
		}
	}
	return "", false
}

// pad makes a number of how one begins, that rules see as it is written.
func (p *Policy) pad(begin string) (string, bool) {
	const digits = "201234567890123"
	lengths := []int{3, 4, 5, 6}
	if strings.HasPrefix(begin, "+") {
		lengths = []int{12, 11, 13, 10, 14, 9, 15, 16, 8}
	}
	for _, length := range lengths {
		if length < len(begin) {
			continue
		}
		number := begin + digits[:length-len(begin)]
		if p.numbers.normalise(number) == number && !p.numbers.emergency(number) && !p.never.has(number) {
			return number, true
		}
	}
	return "", false
}

// times are instants to try: of every window its beginning and its end, on each day of a week
// and on holidays.
func (p *Policy) times(now time.Time) []time.Time {
	all := []time.Time{now}
	for _, m := range p.rules {
		if m.window == nil {
			continue
		}
		days := make([]Date, 0, 16)
		for i := range 8 {
			days = append(days, dateOf(now.In(m.window.zone).AddDate(0, 0, i)))
		}
		for _, day := range p.cfg.Holidays {
			days = append(days, day, dateOf(day.start().AddDate(0, 0, 1)))
		}
		for _, day := range days {
			for _, minute := range []int{m.window.from, m.window.to - 1, m.window.to, m.window.from - 1, 12 * 60} {
				minute = (minute + minutesADay) % minutesADay
				all = append(all, time.Date(day.Year, day.Month, day.Day, minute/60, minute%60, 0, 0, m.window.zone))
			}
		}
	}
	return all
}

func (p *Policy) moments(times []time.Time) (a axis) {
	for _, at := range times {
		a.add(value{
			rules: newRules(len(p.rules), func(i int) bool { return p.rules[i].window == nil || p.rules[i].window.holds(at) }),
			set:   func(f *Facts) { f.Time = at },
		})
	}
	return a
}

// forwards are whether a call is forwarded; through, from one carrier to another, it always is.
func (p *Policy) forwards(through bool) (a axis) {
	for _, forwarded := range []bool{false, true} {
		a.add(value{
			rules: newRules(len(p.rules), func(i int) bool {
				asked := p.rules[i].Forwarded
				return asked == nil || *asked == (forwarded || through)
			}),
			set: func(f *Facts) { f.Forwarded = forwarded },
		})
	}
	return a
}

// headerValues are what a header may be: not there, or one value of each class.
func (p *Policy) headerValues(name string, trusted bool) (a axis) {
	tried := []string{""}
	for _, m := range p.rules {
		for _, h := range m.headers {
			if h.name != name || !trusted {
				continue
			}
			for _, v := range h.values {
				tried = append(tried, v.text)
				if v.prefix {
					tried = append(tried, v.text+"1", v.text+"-x")
				}
			}
		}
	}
	for i, text := range tried {
		var values []string
		if i > 0 {
			values = []string{text}
		}
		a.add(value{
			rules: newRules(len(p.rules), func(i int) bool {
				for _, h := range p.rules[i].headers {
					if h.name == name && !h.has(values) {
						return false
					}
				}
				return true
			}),
			set: func(f *Facts) {
				if values == nil {
					return
				}
				if f.Headers == nil {
					f.Headers = map[string][]string{}
				}
				f.Headers[name] = values
			},
		})
	}
	return a
}
