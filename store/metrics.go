package store

import (
	"cmp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

type metrics struct {
	commit     prometheus.Histogram
	sweep      prometheus.Histogram
	sweptRows  *prometheus.CounterVec
	unreadable prometheus.Counter
	findings   *prometheus.GaugeVec
	head       *prometheus.GaugeVec
	blocked    prometheus.Gauge
	anchors    *prometheus.CounterVec
	anchored   prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, s *Store) *metrics {
	m := &metrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bewaard_store_commit_seconds", Help: "Time a row took to reach the disk, waiting for others to join its commit included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		sweep: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bewaard_store_sweep_seconds", Help: "Time a sweep took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
		}),
		sweptRows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_swept_total", Help: "Rows that a sweep took on: destroyed, destroyed with a file missing before, or error.",
		}, []string{"purpose", "result"}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_store_unreadable_rows_total", Help: "Times a row was met that cannot be read.",
		}),
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bewaard_store_reconcile_findings", Help: "Files and rows that did not agree at start, or at the last daily round since.",
		}, []string{"kind"}),
		head: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bewaard_journal_head_info", Help: "The journal's head as it was last written to the file of heads, once a day: its number and SHA-256. Always 1.",
		}, []string{"number", "sha256"}),
		blocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bewaard_store_compact_blocked_seconds", Help: "Time that everybody waited for the last compaction of the database.",
		}),
		anchors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_journal_anchors_total", Help: "Times that the journal's head was to be stamped by the authority of store.tsa: stamped, unchanged since it was, or error.",
		}, []string{"result"}),
		anchored: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bewaard_journal_anchored_timestamp_seconds", Help: "When the journal's head was last found stamped, as the authority says. 0: not since the start.",
		}),
	}
	if registry != nil {
		registry.MustRegister(m.commit, m.sweep, m.sweptRows, m.unreadable, m.findings, m.head, m.blocked, m.anchors, m.anchored, &gauges{s})
	}
	return m
}

func (m *metrics) swept(purpose, result string) {
	m.sweptRows.WithLabelValues(cmp.Or(purpose, "none"), result).Inc()
}

// witnessed shows a head, and it alone.
func (m *metrics) witnessed(head journal.Head) {
	m.head.Reset()
	m.head.WithLabelValues(strconv.FormatUint(head.Number, 10), head.Hash.String()).Set(1)
}

func (m *metrics) reconciled(r *Report) {
	for kind, found := range r.findings() {
		m.findings.WithLabelValues(kind).Set(float64(len(found)))
	}
}

// gauges reads at scrape what is due now: a sweeper that stands still cannot hide it.
type gauges struct{ store *Store }

var (
	overdueGauge = prometheus.NewDesc("bewaard_retention_overdue",
		"Rows whose expiry has passed and that are not destroyed, and destroyed ones with numbers, or left, beyond their time.", nil, nil)
	oldestGauge = prometheus.NewDesc("bewaard_retention_oldest_overdue_seconds",
		"Time since the longest overdue row expired.", nil, nil)
	trippedGauge = prometheus.NewDesc("bewaard_clock_guard_tripped",
		"1 while nothing is destroyed until an operator confirms that the clock is right.", nil, nil)
	rowsGauge = prometheus.NewDesc("bewaard_store_rows",
		"Rows by state.", []string{"state"}, nil)
	entriesGauge = prometheus.NewDesc("bewaard_journal_entries",
		"Entries of the journal. It never gets less, unless the database was rolled back.", nil, nil)
	holdsGauge = prometheus.NewDesc("bewaard_legal_holds",
		"Legal holds that there are.", nil, nil)
	heldGauge = prometheus.NewDesc("bewaard_legal_hold_rows",
		"Rows that legal holds keep from being destroyed.", nil, nil)
	bytesGauge = prometheus.NewDesc("bewaard_store_database_bytes",
		"Size of the database.", nil, nil)
	freeGauge = prometheus.NewDesc("bewaard_store_free_bytes",
		"Part of the database that is free: it may still hold what was destroyed.", nil, nil)
)

// Describe sends what Collect brings: prometheus.Collector.
func (g *gauges) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{overdueGauge, oldestGauge, trippedGauge, rowsGauge, entriesGauge, holdsGauge, heldGauge, bytesGauge, freeGauge} {
		descs <- desc
	}
}

// Collect reads the gauges: prometheus.Collector. Of a store that cannot be read it
// brings errors, which the scrape shows, not zeros.
func (g *gauges) Collect(metrics chan<- prometheus.Metric) {
	values, err := g.read(time.Now())
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(overdueGauge, err)
		return
	}
	for _, v := range values {
		metrics <- prometheus.MustNewConstMetric(v.desc, prometheus.GaugeValue, v.value, v.labels...)
	}
}

type gaugeValue struct {
	desc   *prometheus.Desc
	value  float64
	labels []string
}

func (g *gauges) read(now time.Time) ([]gaugeValue, error) {
	due, _, err := g.store.countDue(time.Time{}, now)
	if err != nil {
		return nil, err
	}
	for _, x := range []index{byRowExpiry, byRemoval} {
		n, err := g.store.countKeysDue(x, now)
		if err != nil {
			return nil, err
		}
		due += n
	}
	values := []gaugeValue{{desc: overdueGauge, value: float64(due)}}
	err = g.store.db.View(func(tx table.Tx) error {
		oldest := 0.0
		if keys := byExpiry.page(tx, nil, dueEnd(now), 1); len(keys) > 0 {
			oldest = max(0, now.Sub(keyInstant(keys[0])).Seconds())
		}
		c, err := getClock(tx)
		if err != nil {
			return err
		}
		head, err := readHead(tx)
		if err != nil {
			return err
		}
		tripped := 0.0
		if c.Tripped != "" {
			tripped = 1
		}
		values = append(values,
			gaugeValue{desc: oldestGauge, value: oldest},
			gaugeValue{desc: trippedGauge, value: tripped},
			gaugeValue{desc: entriesGauge, value: float64(head.Number)},
			gaugeValue{desc: holdsGauge, value: float64(countKeys(tx, holdsTable))},
			gaugeValue{desc: heldGauge, value: float64(readCount(tx, heldCount))})
		for _, state := range states {
			values = append(values, gaugeValue{rowsGauge, float64(readCount(tx, state)), []string{string(state)}})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	bytes, free, err := g.store.db.Size()
	return append(values, gaugeValue{desc: bytesGauge, value: float64(bytes)}, gaugeValue{desc: freeGauge, value: float64(free)}), err
}

// countKeys counts the keys of a table that has few.
func countKeys(tx table.Tx, name string) (n int) {
	for range tx.Table(name).Ascend(nil) {
		n++
	}
	return n
}
