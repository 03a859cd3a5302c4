package job

import "fmt"

// Reasons of rejected runs.
const (
	ReasonImageNotAllowed   = "ImageNotAllowed"
	ReasonResourcesExceeded = "ResourcesExceeded"
	ReasonEnvNotAllowed     = "EnvNotAllowed"
	ReasonTooLarge          = "TooLarge"
	ReasonInvalidDependency = "InvalidDependency"
	ReasonNotAllowed        = "NotAllowed"
	ReasonInvalidRequest    = "InvalidRequest"
	ReasonBadMessage        = "bad-message"
)

// refusal is why a request is rejected. Its sentence begins with the field and a colon.
type refusal struct{ reason, field, text string }

func (r *refusal) Error() string { return r.field + ": " + r.text }

func refuse(reason, field, format string, args ...any) error {
	return &refusal{reason, field, fmt.Sprintf(format, args...)}
}
