package call

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what the manager and the keeper count.
type Metrics struct {
	calls         *prometheus.CounterVec
	setup         prometheus.Histogram
	announcements *prometheus.CounterVec
	unannounced   prometheus.Counter
	recordings    *prometheus.CounterVec
	expected      prometheus.Counter
	captured      prometheus.Counter
	active        prometheus.Gauge
	rowErrors     prometheus.Counter
	mos           *prometheus.HistogramVec
	steered       *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them, unless the registry is nil.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_calls_total", Help: "Calls that have ended, by what came of them.",
		}, []string{"direction", "outcome"}),
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bewaard_call_setup_seconds", Help: "From the INVITE until both parties were connected, announcement included.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160},
		}),
		announcements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_announcements_total", Help: "Announcements that were begun, by whether they were heard out and how well that is proved.",
		}, []string{"result", "level"}),
		unannounced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_recorded_without_announcement_total", Help: "Recordings begun without a whole announcement or a written exemption. Anything but 0 is a defect.",
		}),
		recordings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_recordings_total", Help: "Recordings that a rule asked for, by what came of them.",
		}, []string{"purpose", "outcome"}),
		expected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_recording_expected_seconds_total", Help: "Time that recordings last, summed over both channels.",
		}),
		captured: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_recording_captured_seconds_total", Help: "Time for which recordings hold packets, summed over both channels.",
		}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bewaard_calls_active", Help: "Calls at the moment.",
		}),
		rowErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_call_row_errors_total", Help: "Rows of calls that could not be written.",
		}),
		mos: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bewaard_call_mos", Help: "Estimated opinion (ITU-T G.107) of who listens to a party on that side, when the call ended.",
			Buckets: []float64{2, 2.6, 3.1, 3.6, 4, 4.2, 4.4},
		}, []string{"side"}),
	}
	m.steered = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bewaard_recording_events_total", Help: "Objections of far parties, and pauses that nobody but their limit ended.",
	}, []string{"event"})
	if registry != nil {
		registry.MustRegister(m.calls, m.setup, m.announcements, m.unannounced, m.recordings, m.expected, m.captured, m.rowErrors, m.active, m.mos, m.steered)
	}
	return m
}
