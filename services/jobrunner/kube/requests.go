package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// bounded limits one request.
func (c *Cluster) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.client.WithLog(ctx), kube.RequestTimeout)
}

// Get implements jobrunner.Cluster. Its pods are as of the same moment, but for those of a Job that has none yet.
func (c *Cluster) Get(ctx context.Context, name string) (*job.Object, error) {
	limited, cancel := c.bounded(ctx)
	defer cancel()
	found, err := c.client.batch.Jobs(c.Namespace()).Get(limited, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the Job %s: %w", name, err)
	}
	made := readJob(found)
	pods, err := c.podsOf(ctx, made)
	if err != nil {
		return nil, fmt.Errorf("read the pods of the Job %s: %w", name, err)
	}
	o := made.with(pods, nil)
	return &o, nil
}

// maxPodsRead bounds the pods that are read with a Job; a record has room for fewer.
const maxPodsRead = 500

// podsOf reads the pods of a Job of ours. One that is suspended and has never begun has none.
func (c *Cluster) podsOf(ctx context.Context, made *madeJob) (pods []*pod, err error) {
	if made.object.RunID == "" || made.object.Suspended && made.object.Counts == (job.Counts{}) {
		return nil, nil
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	selector := metav1.LabelSelector{MatchLabels: map[string]string{job.LabelRunID: made.object.RunID, job.LabelDefinition: made.object.Definition}}
	list, err := c.client.core.Pods(c.Namespace()).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&selector), Limit: maxPodsRead})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if p, kept := readPod(&list.Items[i]); kept && p.owner == made.uid {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

// Create implements jobrunner.Cluster.
func (c *Cluster) Create(ctx context.Context, manifest json.RawMessage) (*job.Object, error) {
	made, err := c.post(ctx, manifest, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create the Job: %w", refusal(err))
	}
	o := readJob(made).object
	return &o, nil
}

// Check implements jobrunner.Cluster: as a dry run under another name, since a Job of that name may exist.
func (c *Cluster) Check(ctx context.Context, manifest json.RawMessage) error {
	unnamed, prefix, err := withoutName(manifest)
	if err == nil {
		_, err = c.post(ctx, unnamed, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		err = refusal(lasting(err, prefix))
	}
	if err != nil {
		return fmt.Errorf("check the Job: %w", err)
	}
	return nil
}

// post sends the manifest as it is: fields that are newer than we are reach the API server, and those that it does not know itself are refused.
func (c *Cluster) post(ctx context.Context, manifest json.RawMessage, options metav1.CreateOptions) (*batchv1.Job, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	options.FieldManager, options.FieldValidation = c.client.Agent(), metav1.FieldValidationStrict
	made := &batchv1.Job{}
	err := c.client.batch.RESTClient().Post().Namespace(c.Namespace()).Resource("jobs").
		VersionedParams(&options, scheme.ParameterCodec).SetHeader("Content-Type", "application/json").Body([]byte(manifest)).
		Do(ctx).Into(made)
	return made, err
}

var uidForm = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// lasting takes out of the answer to a dry run what the API server makes up anew for each: the end of the name, and the UID. So what is wrong is the same sentence each time.
func lasting(err error, prefix string) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	answer := *status
	message := &answer.ErrStatus.Message
	if details := answer.ErrStatus.Details; details != nil && len(details.Name) > len(prefix) && strings.HasPrefix(details.Name, prefix) {
		*message = strings.ReplaceAll(*message, details.Name, prefix+"…")
	}
	*message = uidForm.ReplaceAllString(*message, "…")
	return &answer
}

// randomLetters is how many Kubernetes appends to a generateName.
const randomLetters = 5

// withoutName leaves the end of the name to the API server, and returns its beginning. The name stays as long as it is, since the names of pods depend on that.
func withoutName(manifest json.RawMessage) (unnamed json.RawMessage, prefix string, err error) {
	var whole struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	var fields, metadata map[string]json.RawMessage
	for _, into := range []any{&whole, &fields} {
		if err := json.Unmarshal(manifest, into); err != nil {
			return nil, "", fmt.Errorf("%w: %w", jobrunner.ErrInvalid, err)
		}
	}
	if err := json.Unmarshal(fields["metadata"], &metadata); err != nil {
		return nil, "", fmt.Errorf("%w: metadata: %w", jobrunner.ErrInvalid, err)
	}
	name := whole.Metadata.Name
	prefix = name[:max(len(name)-randomLetters, min(len(name), 1))]
	delete(metadata, "name")
	if metadata["generateName"], err = json.Marshal(prefix); err != nil {
		return nil, "", err
	}
	if fields["metadata"], err = json.Marshal(metadata); err != nil {
		return nil, "", err
	}
	unnamed, err = json.Marshal(fields)
	return unnamed, prefix, err
}

// Resume implements jobrunner.Cluster.
func (c *Cluster) Resume(ctx context.Context, name, uid, version string) (*job.Object, error) {
	resumed, err := c.patch(ctx, name, map[string]any{
		"metadata": map[string]any{"uid": uid, "resourceVersion": version, "annotations": map[string]any{job.AnnotationResumed: "true"}},
		"spec":     map[string]any{"suspend": false},
	})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || isAnother(err) {
		return nil, fmt.Errorf("resume the Job %s: %w: %w", name, jobrunner.ErrChanged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("resume the Job %s: %w", name, err)
	}
	o := readJob(resumed).object
	return &o, nil
}

// Arm implements jobrunner.Cluster.
func (c *Cluster) Arm(ctx context.Context, name, uid string, ttl int32) error {
	_, err := c.patch(ctx, name, map[string]any{"metadata": map[string]any{"uid": uid}, "spec": map[string]any{"ttlSecondsAfterFinished": ttl}})
	if err != nil && !apierrors.IsNotFound(err) && !isAnother(err) {
		return fmt.Errorf("set the TTL of the Job %s: %w", name, err)
	}
	return nil
}

func (c *Cluster) patch(ctx context.Context, name string, change map[string]any) (*batchv1.Job, error) {
	text, err := json.Marshal(change)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	return c.client.batch.Jobs(c.Namespace()).Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: c.client.Agent()})
}

// Delete implements jobrunner.Cluster. The pods go first: without that word Kubernetes would leave them running without their Job.
func (c *Cluster) Delete(ctx context.Context, name, uid, version string) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	asItWas := &metav1.Preconditions{UID: ptr.To(types.UID(uid))}
	if version != "" {
		asItWas.ResourceVersion = &version
	}
	err := c.client.batch.Jobs(c.Namespace()).Delete(ctx, name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationForeground), Preconditions: asItWas,
	})
	if version != "" && apierrors.IsConflict(err) {
		return fmt.Errorf("delete the Job %s: %w: %w", name, jobrunner.ErrChanged, err)
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // a conflict says that another Job has the name
		return fmt.Errorf("delete the Job %s: %w", name, err)
	}
	return nil
}
