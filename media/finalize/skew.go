package finalize

import "time"

const (
	// skewStep is the time of which the least transit is one point of the line.
	skewStep = 10 * time.Second
	// minSkewTime is how long a stream must have gone on for its line to be told
	// from jitter.
	minSkewTime = time.Minute
)

// skew measures how much faster a sender's clock runs than ours: the slope of the
// least transits, a straight line through them by least squares. Where the path
// changes the line begins anew, and the longest one counts.
type skew struct {
	known  bool
	step   int64         // the step that is open, its least transit and when that arrived
	least  int64         //
	at     time.Duration //
	line   line
	length time.Duration // of the longest line, and its slope
	slope  float64
}

// line is the sums of least squares, relative to its first point.
type line struct {
	points       float64
	first, last  time.Duration
	origin       int64
	x, y, xx, xy float64
}

// observe takes a packet's transit, in samples.
func (s *skew) observe(at time.Duration, transit int64) {
	step := int64(at / skewStep)
	switch {
	case !s.known || step > s.step:
		s.close()
		s.known, s.step, s.least, s.at = true, step, transit, at
	case step == s.step && transit < s.least:
		s.least, s.at = transit, at
	}
}

// close makes a point of the step that was open.
func (s *skew) close() {
	if s.known {
		s.line.add(s.at, s.least)
	}
	s.known = false
}

// restart begins a new line: the path has changed.
func (s *skew) restart() {
	s.keep()
	s.known, s.line = false, line{}
}

// keep remembers the line if it is the longest.
func (s *skew) keep() {
	if length := s.line.last - s.line.first; length > s.length {
		s.length, s.slope = length, s.line.slope()
	}
}

// ppm returns by how many millionths the sender's clock runs fast, and how long it
// was watched; 0 if not for long enough. It ends the measurement.
func (s *skew) ppm(hz int64) (ppm float64, watched time.Duration) {
	s.close()
	s.keep()
	if s.length < minSkewTime {
		return 0, 0
	}
	return -1e6 * s.slope / float64(hz), s.length
}

func (l *line) add(at time.Duration, transit int64) {
	if l.points == 0 {
		l.first, l.origin = at, transit
	}
	x, y := (at - l.first).Seconds(), float64(transit-l.origin)
	l.points++
	l.last = at
	l.x += x
	l.y += y
	l.xx += x * x
	l.xy += x * y
}

// slope returns samples a second; a line of two points and more has one.
func (l *line) slope() float64 {
	d := l.points*l.xx - l.x*l.x
	if d == 0 {
		return 0
	}
	return (l.points*l.xy - l.x*l.y) / d
}
