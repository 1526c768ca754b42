package assembly

import (
	"slices"
	"testing"

	"github.com/juju/loggo"
	"github.com/juju/worker/v3/dependency"
)

// reportOf is what a report says of one worker.
func reportOf(report map[string]any, name string) map[string]any {
	return report[dependency.KeyManifolds].(map[string]any)[name].(map[string]any)
}

// A start that waited for them would fail with a damaged disk, or a database that is off.
func TestAnAgentStartsWithoutWhatMayComeLater(t *testing.T) {
	s, err := New(Config{Prefix: "x-"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{RaftName, ProjectionName, NotifyName} {
		if !slices.Contains(s.Extras(), s.Name(name)) {
			t.Errorf("it waits for %s", name)
		}
	}
}

// Raft's lives and the engine log through it.
func TestARaftThatIsStartedAgainDoesNotFloodTheLog(t *testing.T) {
	var log written
	loggers := loggo.NewContext(loggo.INFO)
	if err := loggers.AddWriter("test", &log); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Agent: AgentConfig{Logger: loggers}})
	if err != nil {
		t.Fatal(err)
	}
	engine := s.EngineLogger()
	for range 9 {
		engine.Errorf("%q manifold worker returned unexpected error: %v", "raft", "disk full")
		s.raftLog.Errorf("disk full")
	}
	if len(log) != 2 {
		t.Errorf("it has logged %q", log)
	}
}

// written are the lines of a logger's context.
type written []string

func (w *written) Write(e loggo.Entry) { *w = append(*w, e.Level.String()+" "+e.Message) }
