package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bewaard/bewaard/store"
)

// column is one field of a row as a table or a CSV file shows it.
type column struct {
	name  string
	value func(r *store.Row) string
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// expires is when a row's time is over; blank while the call goes on, from whose end it
// counts.
func expires(r *store.Row) string {
	if r.Ended.IsZero() {
		return ""
	}
	return instant(r.Expires)
}

// purposes are what a row is kept for, by a comma; where that is nothing more, what it was.
func purposes(r *store.Row) string {
	var names []string
	for _, t := range r.AllTerms() {
		names = append(names, t.Purpose)
	}
	return cmp.Or(strings.Join(names, ","), r.Purpose)
}

// count writes how many there are of something: 1 row, 2 rows.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if stem, y := strings.CutSuffix(what, "y"); y {
		what = stem + "ie"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) }

// tableColumns fit a terminal; an auditor's questions come first.
var tableColumns = []column{
	{"BEGAN", func(r *store.Row) string { return instant(r.Began) }},
	{"WAY", func(r *store.Row) string { return r.Direction }},
	{"CALLER", func(r *store.Row) string { return party(r, r.Caller) }},
	{"CALLEE", func(r *store.Row) string { return party(r, r.Callee) }},
	{"OUTCOME", func(r *store.Row) string { return r.Outcome }},
	{"STATE", func(r *store.Row) string { return string(r.State) }},
	{"WHY", func(r *store.Row) string { return r.Reason }},
	{"PURPOSE", purposes},
	{"BASIS", func(r *store.Row) string { return r.Basis }},
	{"EXPIRES", expires},
	{"ID", func(r *store.Row) string { return r.ID }},
}

// csvColumns are all that fit a line. Names and order do not change; new ones come
// at the end.
var csvColumns = []column{
	{"id", func(r *store.Row) string { return r.ID }},
	{"state", func(r *store.Row) string { return string(r.State) }},
	{"reason", func(r *store.Row) string { return r.Reason }},
	{"direction", func(r *store.Row) string { return r.Direction }},
	{"caller_trunk", func(r *store.Row) string { return r.CallerTrunk }},
	{"callee_trunk", func(r *store.Row) string { return r.CalleeTrunk }},
	{"caller", func(r *store.Row) string { return party(r, r.Caller) }},
	{"callee", func(r *store.Row) string { return party(r, r.Callee) }},
	{"began", func(r *store.Row) string { return instant(r.Began) }},
	{"answered", func(r *store.Row) string { return instant(r.Answered) }},
	{"ended", func(r *store.Row) string { return instant(r.Ended) }},
	{"outcome", func(r *store.Row) string { return r.Outcome }},
	{"cause", func(r *store.Row) string { return r.Cause }},
	{"ended_by", func(r *store.Row) string { return r.EndedBy }},
	{"sip_status", func(r *store.Row) string { return strconv.Itoa(r.SIPStatus) }},
	{"rule", func(r *store.Row) string { return r.Rule }},
	{"policy", func(r *store.Row) string { return r.Policy }},
	{"purpose", func(r *store.Row) string { return r.Purpose }},
	{"basis", func(r *store.Row) string { return r.Basis }},
	{"retention", func(r *store.Row) string { return r.Retention }},
	{"expires", expires},
	{"prompt", func(r *store.Row) string { return announcement(r).Prompt }},
	{"prompt_sha256", func(r *store.Row) string { return announcement(r).SHA256 }},
	{"announced_to", func(r *store.Row) string { return announcement(r).Leg }},
	{"announcement_complete", func(r *store.Row) string { return strconv.FormatBool(announcement(r).Complete) }},
	{"announcement_level", func(r *store.Row) string { return announcement(r).Level }},
	{"exempt", func(r *store.Row) string { return announcement(r).Exempt }},
	{"seconds", func(r *store.Row) string {
		if r.Recording == nil {
			return ""
		}
		return seconds(r.Recording.ExpectedSeconds)
	}},
	{"files", func(r *store.Row) string {
		s := ""
		for i, f := range r.Files {
			if i > 0 {
				s += " "
			}
			s += f.Path
		}
		return s
	}},
	{"destroyed", func(r *store.Row) string { return instant(r.Destroyed) }},
	{"row_expires", func(r *store.Row) string { return instant(r.RowExpires) }},
	{"cleared", func(r *store.Row) string { return instant(r.Cleared) }},
	{"certificate_expires", func(r *store.Row) string { return instant(r.CertificateExpires) }},
	{"legal_holds", func(r *store.Row) string { return strings.Join(r.Holds, " ") }},
	{"purposes", purposes},
}

// party is what a row has in a party's place: "sealed" where it cannot be read here.
func party(r *store.Row, number string) string {
	if r.Sealed {
		return "sealed"
	}
	return number
}

func announcement(r *store.Row) store.Announcement {
	if r.Announcement == nil {
		return store.Announcement{}
	}
	return *r.Announcement
}

// writeRows writes rows as table, json or csv.
func writeRows(w io.Writer, format string, rows []store.Row) error {
	switch format {
	case "json":
		return writeJSON(w, rows)
	case "csv":
		c := csv.NewWriter(w)
		c.Write(cells(csvColumns, nil))
		for i := range rows {
			c.Write(cells(csvColumns, &rows[i]))
		}
		c.Flush()
		return c.Error()
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		for _, cell := range cells {
			fmt.Fprint(t, cell, "\t")
		}
		fmt.Fprintln(t)
	}
	line(cells(tableColumns, nil))
	for i := range rows {
		line(cells(tableColumns, &rows[i]))
	}
	return t.Flush()
}

// writeJSON writes a list as JSON, an empty one as that.
func writeJSON[T any](w io.Writer, list []T) error {
	if list == nil {
		list = []T{}
	}
	return writeObject(w, list)
}

// writeObject writes anything as JSON, for people to read, too.
func writeObject(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// cells returns a row's cells, or the names of the columns.
func cells(columns []column, r *store.Row) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		if out[i] = c.name; r != nil {
			out[i] = c.value(r)
		}
	}
	return out
}
