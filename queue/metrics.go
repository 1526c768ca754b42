package queue

import "github.com/prometheus/client_golang/prometheus"

// Collector shows a queue's depth: interrex_queue_depth{lane}.
type Collector struct {
	queue *Queue
	depth *prometheus.Desc
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes a collector, for its owner to register.
func NewCollector(q *Queue) *Collector {
	return &Collector{queue: q, depth: prometheus.NewDesc("interrex_queue_depth",
		"Operations that wait for the log.", []string{"lane"}, nil)}
}

// Describe gives the metrics' descriptions.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.depth }

// Collect gives their present values.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	normal, extend := c.queue.Depth()
	ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(normal), "normal")
	ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(extend), "extend")
}
