package function

import (
	"fmt"
	"strings"
)

// MaxNameLength is the length of the longest DNS label, in bytes (RFC 1123).
const MaxNameLength = 63

// ValidName says whether name can be the name of a function: a DNS label as RFC 1123 has it, in lower case and
// without dots, because it stands in URLs, in NATS subjects and in the names of Kubernetes objects as it is. The
// error says what would be right.
func ValidName(name string) error {
	if isLabel(name) {
		return nil
	}
	return fmt.Errorf("name %s is no DNS label: %s", quoteShort(name), wantName)
}

const wantName = "it must have 1 to 63 characters, of a-z, 0-9 and '-', with a letter or digit at both ends"

func isLabel(name string) bool {
	if name == "" || len(name) > MaxNameLength {
		return false
	}
	for i := range len(name) {
		if !isLabelByte(name[i]) {
			return false
		}
	}
	return !strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
}

func isLabelByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
}

// ValidEvent says whether name can be the name of an event, which stands in URLs and is one word of a NATS subject. It may be as long as that of a
// function, for no other reason than that names are alike then. The error says what would be right.
func ValidEvent(name string) error {
	valid := name != "" && len(name) <= MaxNameLength
	for i := 0; valid && i < len(name); i++ {
		c := name[i]
		valid = isLabelByte(c) || c == '_' || c >= 'A' && c <= 'Z'
	}
	if !valid {
		return fmt.Errorf("event %s: %s", quoteShort(name), wantEvent)
	}
	return nil
}

const wantEvent = "it must have 1 to 63 characters, of letters, digits, '-' and '_'"
