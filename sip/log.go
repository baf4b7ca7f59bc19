package sip

import (
	"context"
	"log/slog"
)

// quiet passes sipgo's records on without what they quote of messages: it logs
// whole datagrams on a parse error, and start lines elsewhere. Numbers and keys
// must never be logged. Its errors are the peers' faults, so they are warnings here.
type quiet struct{ slog.Handler }

// spoken are the attributes that tell of a peer or of the stack, not of a message.
var spoken = map[string]bool{"caller": true, "network": true, "laddr": true, "raddr": true, "addr": true, "transport": true}

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, slog.LevelWarn)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	record := slog.NewRecord(r.Time, slog.LevelWarn, "sip stack: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if spoken[a.Key] {
			record.AddAttrs(a)
		}
		return true
	})
	return q.Handler.Handle(ctx, record)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		if spoken[a.Key] {
			kept = append(kept, a)
		}
	}
	return quiet{q.Handler.WithAttrs(kept)}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
