package health

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/alarm"
)

func (v View) backupLate() []alarm.Finding {
	if v.Backup == nil {
		return nil
	}
	if late := v.Backup.Late(); late != "" {
		return alarm.Found(late)
	}
	return nil
}

// backupMetrics are those of the copies that this agent makes by itself.
func (v View) backupMetrics(gauge func(*prometheus.Desc, float64, ...string)) {
	if v.Backup == nil {
		return
	}
	s := v.Backup.Status()
	if !s.Last.IsZero() {
		gauge(backupLastDesc, float64(s.Last.Unix()))
	}
	if s.Bytes > 0 {
		gauge(backupBytesDesc, float64(s.Bytes))
		gauge(backupTookDesc, s.Took.Seconds())
	}
}
