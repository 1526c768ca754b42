package notify

// The waits that a Config leaves out.
const (
	DefaultPause         = defaultPause
	DefaultNotifyTimeout = defaultNotifyTimeout
	DefaultMendTimeout   = defaultMendTimeout
)

// Config is what a Worker is made of.
type Config = config

// NewWorker starts a worker.
var NewWorker = newWorker
