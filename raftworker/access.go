package raftworker

// Transport gives the transport of this life of raft, for use during a visit:
// what it has noted of answers is what strong reads count by. Its errors are
// Raft's.
func (w *Worker) Transport() (Transport, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	return w.life.transport, nil
}
