package job

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NameOf is the name of the Job of the run's present attempt: the same whoever makes it up, and never that of another run or attempt. A name is never
// used again: a Job that is made anew under the name of a deleted one can stay unnoticed by Kubernetes' own controller (kubernetes #142142). It has at most 51 characters as
// long as the attempt has one to nine digits, so that the index of a pod has room in 63.
func NameOf(r Run) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", r.Definition, r.ID, r.Salt))
	const longestDefinition, hashed = 30, 10
	short := strings.TrimRight(r.Definition[:min(len(r.Definition), longestDefinition)], "-")
	return fmt.Sprintf("%s-%s-%d", short, base32Lower.EncodeToString(sum[:])[:hashed], r.Attempt)
}

// ValidName returns what is wrong with the name of a job, and what would be right: it is a DNS label (RFC 1123), because it stands in URLs, in NATS subjects and in names of
// Kubernetes objects as it is.
func ValidName(name string) error {
	if !isLabel(name) {
		return fmt.Errorf("name %s is no DNS label: %s", quote(name), wantLabel)
	}
	return nil
}

// ValidRunID returns what is wrong with an id that somebody has chosen, and what would be right: it is a label of Kubernetes, in lower case.
func ValidRunID(id string) error {
	if !isLabel(id) {
		return fmt.Errorf("is no id of a run: %s", wantLabel)
	}
	return nil
}

const wantLabel = "it must have 1 to 63 characters, of a-z, 0-9 and '-', with a letter or digit at both ends"

var (
	label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	// qualified is what may be a name of a label after its domain, and a value of a label that is not empty.
	qualified = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

func isLabel(name string) bool { return label.MatchString(name) }

func isSubdomain(name string) bool { return len(name) <= 253 && subdomain.MatchString(name) }

// checkLabelKey checks the key of a label (or annotation) as Kubernetes does. The error goes on after it.
func checkLabelKey(key string) error {
	domain, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		domain, name = "", key
	}
	if !qualified.MatchString(name) || prefixed && !isSubdomain(domain) {
		return errors.New("has a key that no label can have: one such as tenant or example.com/tenant is right")
	}
	return nil
}

// checkLabelValue checks the value of a label as Kubernetes does. The error goes on after it.
func checkLabelValue(value string) error {
	if value != "" && !qualified.MatchString(value) {
		return errors.New("is no value that a label can have: at most 63 characters, of letters, digits, '-', '_' and '.', are right, with a letter or digit at both ends")
	}
	return nil
}
