package process

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Group is the running programs of one cluster. If one of them ends that nobody has stopped, the group's context ends
// with that program's error as its cause, and so does every wait that uses the context.
type Group struct {
	logDir string
	fail   context.CancelCauseFunc

	mu      sync.Mutex
	running []*Process // in the order of their start; guarded by mu

	watchers sync.WaitGroup
}

// NewGroup is a group without programs, whose logs are written to logDir, and its context.
func NewGroup(ctx context.Context, logDir string) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{logDir: logDir, fail: cancel}, ctx
}

// Start starts a program of the group. The group sets the command's LogDir.
func (g *Group) Start(command Command) error {
	command.LogDir = g.logDir
	p, err := Start(command)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.running = append(g.running, p)
	g.mu.Unlock()
	g.watchers.Go(func() {
		<-p.Exited()
		if g.remove(p) {
			g.fail(p.Err())
		}
	})
	return nil
}

// Stop ends the program of that name. It does nothing if there is none.
func (g *Group) Stop(name string) {
	if p := g.find(name); p != nil && g.remove(p) {
		p.Stop()
	}
}

// Kill ends the program of that name with SIGKILL. It does nothing if there is none.
func (g *Group) Kill(name string) {
	if p := g.find(name); p != nil && g.remove(p) {
		p.Kill()
	}
}

// StopAll ends every program, the youngest first, and waits for all that the group has started.
func (g *Group) StopAll() {
	for _, name := range slices.Backward(g.names()) {
		g.Stop(name)
	}
	g.watchers.Wait()
	g.fail(fmt.Errorf("stop all: %w", context.Canceled))
}

// remove takes the program out of the group and tells whether it was there: whoever takes it out deals with its end.
func (g *Group) remove(p *Process) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.running, p)
	if i < 0 {
		return false
	}
	g.running = slices.Delete(g.running, i, i+1)
	return true
}

// Running tells whether the group has a program of that name.
func (g *Group) Running(name string) bool { return g.find(name) != nil }

func (g *Group) find(name string) *Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.running, func(p *Process) bool { return p.Name() == name })
	if i < 0 {
		return nil
	}
	return g.running[i]
}

func (g *Group) names() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for _, p := range g.running {
		names = append(names, p.Name())
	}
	return names
}
