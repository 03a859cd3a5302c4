package local

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// command is what to start for a replica. It is an argv from end to end: nothing of it passes a shell.
func (c *Cluster) command(r *replica, workload Workload, port int, log *output) processCommand {
	given := c.tools.env
	if !workload.trusted() {
		given = c.tools.untrustedEnv
	}
	return processCommand{
		argv: expand(workload.Command, port, r.index), dir: workload.Dir, output: log,
		env: slices.Concat(os.Environ(), workload.Env,
			[]string{"PORT=" + strconv.Itoa(port), "SLUICE_REPLICA=" + strconv.Itoa(r.index)}, given),
	}
}

// expand replaces {port} and {replica} in each word.
func expand(words []string, port, replica int) []string {
	replacer := strings.NewReplacer("{port}", strconv.Itoa(port), "{replica}", strconv.Itoa(replica))
	expanded := make([]string, len(words))
	for i, word := range words {
		expanded[i] = replacer.Replace(word)
	}
	return expanded
}

func (c *Cluster) outputOf(r *replica) *output {
	return newOutput(c.logger.With().
		Str("function", r.set.name).Str("replica", c.nameOf(r)).Logger())
}

func (c *Cluster) nameOf(r *replica) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.name
}
