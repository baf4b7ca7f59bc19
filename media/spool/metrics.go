package spool

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a Writer's counters.
type metrics struct {
	bytes     prometheus.Counter
	errors    prometheus.Counter
	discarded prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_spool_bytes_total",
			Help: "Bytes written to spools.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_spool_errors_total",
			Help: "Spools given up because they could not be written.",
		}),
		discarded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_spool_discarded_packets_total",
			Help: "Captured packets thrown away because their spool was given up.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.bytes), reg.Register(m.errors), reg.Register(m.discarded))
}
