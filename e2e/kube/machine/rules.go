package machine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// ruleComment marks this package's own rules.
const ruleComment = "sluice-kube"

// allowForwarding lets packets pass the bridge where the machine's policy is to drop what is forwarded.
func allowForwarding(ctx context.Context) error {
	for _, direction := range []string{"-i", "-o"} {
		command := exec.CommandContext(ctx, "iptables", "-w", "-I", "FORWARD", direction, Bridge, "-j", "ACCEPT", //nolint:gosec // constants
			"-m", "comment", "--comment", ruleComment)
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("allow forwarding: %w: %s", err, output)
		}
	}
	return nil
}

// removeRules removes the rules of kube-proxy, the kubelet and this package, and leaves all others as they are.
func removeRules(ctx context.Context) error {
	var all []error
	for _, program := range []string{"iptables", "ip6tables"} {
		rules, err := saveRules(ctx, program)
		if err != nil {
			all = append(all, err)
			continue
		}
		others := withoutOurs(rules)
		if others == rules {
			continue
		}
		restore := exec.CommandContext(ctx, program+"-restore", "-w") //nolint:gosec // one of the two names above
		restore.Stdin = strings.NewReader(others)
		if output, err := restore.CombinedOutput(); err != nil {
			all = append(all, fmt.Errorf("remove packet filter rules with %s-restore: %w: %s", program, err, output))
		}
	}
	return errors.Join(all...)
}

// saveRules is the output of iptables-save or ip6tables-save.
func saveRules(ctx context.Context, program string) (string, error) {
	rules, err := exec.CommandContext(ctx, program+"-save").Output() //nolint:gosec // iptables or ip6tables
	if err != nil {
		return "", fmt.Errorf("read the packet filter rules with %s-save: %w", program, err)
	}
	return string(rules), nil
}

// withoutOurs leaves out every line of rules that names a chain of Kubernetes or has this package's comment.
func withoutOurs(rules string) string {
	var kept strings.Builder
	for line := range strings.Lines(rules) {
		if strings.Contains(line, "KUBE-") || strings.Contains(line, ruleComment) {
			continue
		}
		kept.WriteString(line)
	}
	return kept.String()
}
