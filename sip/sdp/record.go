package sdp

import "strings"

// Record is what the author of a stream says of its recording by him (RFC 7866 §6.1.2).
type Record string

const (
	RecordOn     Record = "on"
	RecordOff    Record = "off"
	RecordPaused Record = "paused"
)

// RecordPref is what the author of a stream wants of its recording by the other party
// (RFC 7866 §6.2.1); "" where he says nothing that is one.
type RecordPref string

const (
	PrefOn    RecordPref = "on"
	PrefOff   RecordPref = "off"
	PrefPause RecordPref = "pause"
	PrefNone  RecordPref = "nopreference"
)

// SetRecord says to the stream's peer whether it is recorded, in place of what was said
// before. It is said of what we do, on one leg: Locate drops what another said.
func (m *Media) SetRecord(r Record) {
	m.lines = remove(m.lines, func(line string) bool { name, _ := attribute(line); return name == "record" })
	m.lines = append(m.lines, "a=record:"+string(r))
}

// Record returns what the description says of the stream's recording, "" for nothing: the
// stream's own attribute, or else the session's.
func (d *Description) Record(m *Media) Record {
	v := d.said(m, "record", []string{string(RecordOff), string(RecordPaused), string(RecordOn)})
	return Record(v)
}

// RecordPref returns what the description's author wants of the stream's recording: the
// stream's own attribute, or else the session's. Where he contradicts himself, it is what
// records less.
func (d *Description) RecordPref(m *Media) RecordPref {
	v := d.said(m, "recordpref", []string{string(PrefOff), string(PrefPause), string(PrefNone), string(PrefOn)})
	return RecordPref(v)
}

// said returns the first of the values that an attribute has, in any case of letters (RFC
// 5234 §2.3), on the stream or else on the session. What is none of them is not there.
func (d *Description) said(m *Media, wanted string, values []string) string {
	for _, lines := range [][]string{m.lines, d.lines} {
		best := len(values)
		for _, line := range lines {
			name, v := attribute(line)
			for i, value := range values[:best] {
				if name == wanted && strings.EqualFold(v, value) {
					best = i
				}
			}
		}
		if best < len(values) {
			return values[best]
		}
	}
	return ""
}

// aboutRecording reports whether a line tells of a recording: between us and a peer only.
func aboutRecording(line string) bool {
	name, _ := attribute(line)
	return name == "record" || name == "recordpref"
}
