package notify

// The waits that a Config leaves out.
const (
	DefaultPause         = defaultPause
	DefaultNotifyTimeout = defaultNotifyTimeout
	DefaultMendTimeout   = defaultMendTimeout
)
