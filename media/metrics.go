package media

import "github.com/prometheus/client_golang/prometheus"

// metrics are collected when they are scraped: the way of a packet counts in its
// leg's own counters and looks nothing up.
type metrics struct {
	engine  *Engine
	packets *prometheus.Desc
	dropped *prometheus.Desc
	keys    *prometheus.Desc
	reports *prometheus.Desc
	deaf    *prometheus.Desc
	ports   *prometheus.Desc
	none    *prometheus.Desc
	jitter  prometheus.Histogram
}

func newMetrics(e *Engine, registry prometheus.Registerer) *metrics {
	m := &metrics{
		engine:  e,
		packets: prometheus.NewDesc("bewaard_rtp_packets_total", "RTP packets by what became of them.", []string{"direction", "result"}, nil),
		dropped: prometheus.NewDesc("bewaard_tap_dropped_packets_total", "Packets not recorded since their tap was full: the disk did not keep up.", nil, nil),
		keys:    prometheus.NewDesc("bewaard_media_keys_dropped_total", "Keys pressed that their call did not take in time.", nil, nil),
		reports: prometheus.NewDesc("bewaard_media_reports_dropped_total", "RTCP packets that came in faster than they could be read.", nil, nil),
		deaf:    prometheus.NewDesc("bewaard_media_sockets_unwatched_total", "Sockets that the system would not watch: nothing that comes to them is heard.", nil, nil),
		ports:   prometheus.NewDesc("bewaard_media_port_pairs", "Pairs of RTP and RTCP ports, by whether they are in use.", []string{"state"}, nil),
		none:    prometheus.NewDesc("bewaard_media_ports_exhausted_total", "Times that a call found no free pair of ports.", nil, nil),
		jitter: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bewaard_rtp_jitter_seconds", Help: "Interarrival jitter of each leg (RFC 3550 §6.4.1) when its call ended.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2},
		}),
	}
	if registry != nil {
		registry.MustRegister(m)
	}
	return m
}

// observe notes the jitter of a session that has ended.
func (m *metrics) observe(s Stats) {
	for _, leg := range s.Legs {
		if leg.Received > 0 {
			m.jitter.Observe(leg.Jitter.Seconds())
		}
	}
}

// Describe is prometheus.Collector's.
func (m *metrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect is prometheus.Collector's.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	sum := m.engine.total()
	count := func(n uint64, desc *prometheus.Desc, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	count(sum.Received, m.packets, "in", "received")
	count(sum.Lost, m.packets, "in", "lost")
	count(sum.Rejected, m.packets, "in", "rejected")
	count(sum.Invalid, m.packets, "in", "invalid")
	count(sum.Forged, m.packets, "in", "forged")
	count(sum.Replayed, m.packets, "in", "replayed")
	count(sum.Unkeyed, m.packets, "in", "unkeyed")
	count(sum.Relayed, m.packets, "out", "relayed")
	count(sum.Played, m.packets, "out", "played")
	count(sum.Errors, m.packets, "out", "error")
	count(sum.Dropped, m.dropped)
	count(m.engine.keysDropped.Load(), m.keys)
	count(m.engine.desk.lost.Load(), m.reports)
	count(m.engine.deaf.Load(), m.deaf)
	used, exhausted := m.engine.ports.counts()
	count(exhausted, m.none)
	gauge := func(n int, state string) {
		out <- prometheus.MustNewConstMetric(m.ports, prometheus.GaugeValue, float64(n), state)
	}
	gauge(used, "used")
	gauge(m.engine.ports.size()-used, "free")
	m.jitter.Collect(out)
}
