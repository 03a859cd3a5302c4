package ops

import (
	"errors"
	"strconv"
	"strings"
)

// convert makes the value of a flag of one of SlimFaas's variables. The error says what would be right.
type convert func(value string) (string, error)

func asIs(value string) (string, error) { return value, nil }

// toBool takes the spellings of .NET: true and false in any case.
func toBool(value string) (string, error) {
	switch lower := strings.ToLower(strings.TrimSpace(value)); lower {
	case "true", "false":
		return lower, nil
	}
	return "", errors.New("it must be true or false")
}

// milliseconds makes a duration of a whole number.
func milliseconds(value string) (string, error) {
	number, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	if err != nil {
		return "", errors.New("it must be a whole number of milliseconds, such as 10000")
	}
	return strconv.FormatUint(number, 10) + "ms", nil
}

func wholeNumber(value string) (string, error) {
	number, err := strconv.ParseUint(strings.TrimSpace(value), 10, 63)
	if err != nil {
		return "", errors.New("it must be a whole number")
	}
	return strconv.FormatUint(number, 10), nil
}

// ports makes addresses of port numbers: ":5000,:8080".
func ports(value string) (string, error) {
	var addresses []string
	for item := range strings.SplitSeq(value, ",") {
		number, err := strconv.ParseUint(strings.TrimSpace(item), 10, 16)
		if err != nil || number == 0 {
			return "", errors.New("it must be port numbers with commas between them, such as 5000,8080")
		}
		addresses = append(addresses, ":"+strconv.FormatUint(number, 10))
	}
	return strings.Join(addresses, ","), nil
}

// isServiceLink recognises what Kubernetes puts into a pod beside a Service of the name slimfaas: SLIMFAAS_PORT=tcp://10.0.0.1:80.
func isServiceLink(value string) bool { return strings.HasPrefix(value, "tcp://") }
