package sip

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	responses *prometheus.CounterVec
	strangers prometheus.Counter
	malformed *prometheus.CounterVec
	branches  prometheus.Counter
	legs      prometheus.GaugeFunc
	banned    prometheus.GaugeFunc
}

func newMetrics(registry prometheus.Registerer, legs, banned func() int) *metrics {
	m := &metrics{
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_sip_responses_total", Help: "Final responses to INVITE, sent and received, by the trunk at the other end.",
		}, []string{"method", "code", "trunk"}),
		strangers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_sip_strangers_total", Help: "Datagrams and connections dropped because their source belongs to no trunk.",
		}),
		malformed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_sip_malformed_total", Help: "Messages of peers that cannot be read. Requests among them get a 400 where they say whom.",
		}, []string{"transport"}),
		branches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_sip_branches_dropped_total", Help: "Responses to INVITE dropped because as many branches have answered it as may.",
		}),
		legs: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bewaard_sip_legs", Help: "Dialogs that are set up or being set up.",
		}, func() float64 { return float64(legs()) }),
		banned: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bewaard_sip_banned_sources", Help: "Addresses of strangers that are not listened to at the moment.",
		}, func() float64 { return float64(banned()) }),
	}
	if registry != nil {
		registry.MustRegister(m.responses, m.strangers, m.malformed, m.branches, m.legs, m.banned)
	}
	return m
}

func (m *metrics) response(method string, code int, trunk string) {
	m.responses.WithLabelValues(method, strconv.Itoa(code), trunk).Inc()
}
