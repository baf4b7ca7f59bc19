package sip

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quiet passes sipgo's records on without what they quote of messages: it logs
// whole datagrams on a parse error, and start lines elsewhere. Numbers and keys
// must never be logged. Its errors are the peers' faults, so they are warnings here, and
// each is said once a minute: a peer decides how often it happens.
type quiet struct {
	slog.Handler
	said *said
}

func newQuiet(h slog.Handler) quiet { return quiet{h, &said{of: map[string]*seldom{}}} }

// said knows what was said when, by its words: those of sipgo are constants.
type said struct {
	mu sync.Mutex
	of map[string]*seldom
}

func (s *said) due(words string, now time.Time) (held int, ok bool) {
	s.mu.Lock()
	one := s.of[words]
	if one == nil {
		one = &seldom{}
		s.of[words] = one
	}
	s.mu.Unlock()
	return one.due(now)
}

// spoken are the attributes that tell of a peer or of the stack, not of a message.
var spoken = map[string]bool{"caller": true, "network": true, "laddr": true, "raddr": true, "addr": true, "transport": true}

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, slog.LevelWarn)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	held, ok := q.said.due(r.Message, time.Now())
	if !ok {
		return nil
	}
	record := slog.NewRecord(r.Time, slog.LevelWarn, "sip stack: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if spoken[a.Key] {
			record.AddAttrs(a)
		}
		return true
	})
	record.AddAttrs(slog.Int("suppressed", held))
	return q.Handler.Handle(ctx, record)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		if spoken[a.Key] {
			kept = append(kept, a)
		}
	}
	return quiet{q.Handler.WithAttrs(kept), q.said}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.said} }

// seldom lets one thing a minute be said.
type seldom struct {
	mu   sync.Mutex
	last time.Time
	held int // since then
}

// due reports whether it may be said again, and how often it was not.
func (s *seldom) due(now time.Time) (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < time.Minute {
		s.held++
		return 0, false
	}
	held, s.held, s.last = s.held, 0, now
	return held, true
}
