package kube

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/services/jobrunner"
)

// refusal says what an error of the API server about a new Job means; one that says nothing for good stays as it is.
func refusal(err error) error {
	switch reason := apierrors.ReasonForError(err); {
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("%w: %w", jobrunner.ErrExists, err)
	case isQuota(err):
		return fmt.Errorf("%w: %w", jobrunner.ErrQuota, err)
	case lacksRight(err): // an administrator can give it to us
		return err
	case reason == metav1.StatusReasonForbidden, reason == metav1.StatusReasonInvalid, reason == metav1.StatusReasonBadRequest,
		reason == metav1.StatusReasonRequestEntityTooLarge, lacksNamespace(err):
		return fmt.Errorf("%w: %w", jobrunner.ErrInvalid, err)
	}
	return err
}

// isQuota reports whether a quota has no room for another Job, or has not been counted yet (the words of the API server's admission).
func isQuota(err error) bool {
	return apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) &&
		(strings.Contains(err.Error(), "exceeded quota: ") || strings.Contains(err.Error(), "status unknown for quota: "))
}

// lacksRight reports whether we may not do it at all. The API server says "forbidden" for that and for what its admission refuses; only of our rights does it name the
// user, the verb and the resource, and no object.
func lacksRight(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `forbidden: User "`) && strings.Contains(err.Error(), `" cannot create resource "`)
}

// lacksNamespace reports whether there is no namespace to create anything in, or soon none.
func lacksNamespace(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return true
	}
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// isAnother reports whether a patch was refused because the Job of that name has another UID, which can never be changed.
func isAnother(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Field == "metadata.uid" {
			return true
		}
	}
	return false
}
