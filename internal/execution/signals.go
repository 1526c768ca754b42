package execution

import (
	"os"
	"os/signal"
	"syscall"
)

// Notify is signal.Notify for those signals that were not ignored when the process
// was started; the others stay ignored, and a command that is started inherits
// that. Go reports it of INT and HUP only: QUIT is taken to go with INT, as in what
// a script starts in the background.
func Notify(c chan<- os.Signal, signals ...os.Signal) {
	for _, sig := range signals {
		known := sig
		if sig == syscall.SIGQUIT {
			known = syscall.SIGINT
		}
		if signal.Ignored(known) {
			signal.Ignore(sig)
		} else {
			signal.Notify(c, sig)
		}
	}
}
