package trunk

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	up, registered, calls *prometheus.GaugeVec
	refused               *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bewaard_trunk_up", Help: "1 while a trunk's peer answers, 0 while it does not; not there before it was asked. By what is configured of it.",
		}, []string{"trunk", "peer"}),
		registered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bewaard_trunk_registered", Help: "1 while a trunk's registrar knows us; there only for trunks that register.",
		}, []string{"trunk"}),
		calls: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bewaard_trunk_calls", Help: "Calls that a trunk has, to it and from it.",
		}, []string{"trunk"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_trunk_refused_total", Help: "Calls refused because a trunk has, or sends, more than it may.",
		}, []string{"trunk", "reason"}),
	}
	if registry != nil {
		registry.MustRegister(m.up, m.registered, m.calls, m.refused)
	}
	return m
}
