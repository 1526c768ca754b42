package raftrules

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// copies detects whether the directory is an older copy of what this agent has
// stored and promised.
type copies struct {
	*local

	mu    sync.Mutex
	met   map[string]bool // the agents that this life has met, by ID
	older error           // set when this disk is an older copy
}

// meet records that another agent was met.
func (c *copies) meet(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met[id] = true
}

// checkTerm compares this disk's term with the greatest in which another agent has
// received anything from this one: if that is later, this disk is an older copy.
func (c *copies) checkTerm(peer string, received uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term := c.dir.Term(); received > term && c.older == nil {
		c.older = fmt.Errorf("the disk of this agent is an older copy, and may have forgotten a vote: agent %s has received messages from it in term %d, and the disk has only term %d: it does not take part; bring back the newest copy of its directory, or its disk counts as lost", peer, received, term)
		c.cfg.Logger.Errorf("%v", c.older)
	}
}

// silent returns why this agent does not take part in raft; nil: it does.
func (c *copies) silent() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.older != nil {
		return c.older
	}
	if !c.dir.Copied() {
		return nil
	}
	var missing []string
	if running := c.raft.Load(); running != nil {
		missing = c.unmet(running.GetConfiguration().Configuration())
	}
	text := "the directory of this agent was copied or moved, and may be older than what it has promised: it does not take part until it has met every other member"
	if len(missing) > 0 {
		text += "; still missing: " + strings.Join(missing, ", ")
	}
	return errors.New(text)
}

// unmet returns the other members that this life has not met.
func (c *copies) unmet(members raft.Configuration) (ids []string) {
	for _, s := range members.Servers {
		if id := string(s.ID); s.ID != c.cfg.LocalID && !c.met[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// settle ends the silence of a copied directory once every other member was met and
// none knows of more than it has.
func (c *copies) settle(members raft.Configuration) error {
	if !c.knowsAll(members) {
		return nil
	}
	// Without the lock, because this waits for the disk.
	if err := c.dir.Trust(); err != nil {
		return err
	}
	c.cfg.Logger.Infof("the directory %s was copied or moved; every other member was met, and it takes part again", c.cfg.StorageDir)
	return nil
}

func (c *copies) knowsAll(members raft.Configuration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dir.Copied() && c.older == nil && len(members.Servers) > 0 && len(c.unmet(members)) == 0
}
