package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// The jobrunner does all its work with the account that the chart gives it: nothing is forbidden to it that it tries.
func TestJobrunnerHasTheRightsItNeeds(t *testing.T) {
	p, program := plane(t), build(t, "jobrunner")
	space := installAccounts(t, p)
	url := natsServer(t)
	said := p.runJobrunner(t, space, program, url)

	p.define(t, space, "hello", nil)
	p.define(t, space, "late", map[string]string{"sluice/JobPolicy": "startDeadlineSeconds: 1"})
	p.define(t, space, "wrong", map[string]string{"sluice/NumberParallelJob": "many"})
	conn, err := nats.Connect(url, nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	moves, err := conn.SubscribeSync("sluice.jobstate.late.*")
	if err != nil {
		t.Fatal(err)
	}
	requestJobs(t, conn, "hello", "late")

	// Made, and let run; its pod succeeds; it gets its TTL once its result is kept.
	pod := p.jobPod(t, space, "hello")
	if pod.Spec.ServiceAccountName != "default" { // not the jobrunner's, which may make further Jobs
		t.Errorf("the job's pod has the account %s", pod.Spec.ServiceAccountName)
	}
	p.succeed(t, pod)
	until(t, "the Job has its TTL", func(ctx context.Context) (bool, string) {
		job, err := p.jobOf(ctx, space, "hello")
		return err == nil && job != nil && job.Spec.TTLSecondsAfterFinished != nil, fmt.Sprint(err, said)
	})
	// A Job is deleted whose pod does not run in time.
	until(t, "the late run has failed", func(context.Context) (bool, string) {
		move, err := moves.NextMsg(pollPause)
		return err == nil && bytes.Contains(move.Data, []byte("StartDeadlineExceeded")) && bytes.Contains(move.Data, []byte(`"Failed"`)), said.String()
	})
	if job, err := p.jobOf(t.Context(), space, "late"); err != nil || job != nil {
		t.Errorf("the late Job is there: %v %v", job, err)
	}
	until(t, "the Event of the wrong annotation", func(ctx context.Context) (bool, string) {
		events, err := p.CoreV1().Events(space).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=CronJob,involvedObject.name=wrong"})
		return err == nil && len(events.Items) > 0, fmt.Sprint(err, said)
	})
	if text := said.String(); strings.Contains(text, "forbidden") || !strings.Contains(text, "this jobrunner leads") {
		t.Errorf("it says\n%s", text)
	}
}

// output is what a program says. It may be written and read at the same time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// natsServer starts one, and returns its address.
func natsServer(t *testing.T) string {
	t.Helper()
	running, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	running.Start()
	t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	if !running.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not serve")
	}
	return running.ClientURL()
}

// runJobrunner runs the program with the chart's account until the test ends.
func (p *controlPlane) runJobrunner(t *testing.T, space, program, url string) *output {
	t.Helper()
	kubeconfig, err := p.accessOf(t.Context(), space, "sluice-jobrunner", filepath.Join(t.TempDir(), "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	said := &output{}
	command := exec.Command(program, "--kubeconfig="+kubeconfig, "--namespace="+space, "--lease-name=sluice-jobrunner", "--nats="+url,
		"--ops-listen=127.0.0.1:0", "--log-format=json", "--log-level=debug")
	command.Stdout, command.Stderr, command.Env = said, said, os.Environ()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killer := time.AfterFunc(planeStop, func() { _ = command.Process.Kill() })
		defer killer.Stop()
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("the jobrunner ended with %v and said\n%s", err, said)
		}
	})
	return said
}

// accessOf writes the file with which a program is the account.
func (p *controlPlane) accessOf(ctx context.Context, space, account, file string) (string, error) {
	token, err := p.CoreV1().ServiceAccounts(space).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("get the account's token: %w", err)
	}
	access := clientcmdapi.NewConfig()
	access.Clusters["c"] = &clientcmdapi.Cluster{Server: p.config.Host, CertificateAuthority: p.config.CAFile, CertificateAuthorityData: p.config.CAData}
	access.AuthInfos["a"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	access.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "a"}
	access.CurrentContext = "x"
	return file, clientcmd.WriteToFile(*access, file)
}

// define makes a definition, whose pods a restricted namespace admits.
func (p *controlPlane) define(t *testing.T, space, name string, annotations map[string]string) {
	t.Helper()
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"sluice/Job": "true"}}}
	for key, value := range annotations {
		cron.Annotations[key] = value
	}
	cron.Spec.Schedule, cron.Spec.Suspend = "0 0 1 1 *", ptr.To(true)
	cron.Spec.JobTemplate.Spec.TTLSecondsAfterFinished = ptr.To[int32](600)
	cron.Spec.JobTemplate.Spec.Template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{Name: "main", Image: "example/batch:1", SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}}},
	}
	if _, err := p.BatchV1().CronJobs(space).Create(t.Context(), cron, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// requestJobs asks for a run of each, once the jobrunner has made their queue.
func requestJobs(t *testing.T, conn *nats.Conn, names ...string) {
	t.Helper()
	for _, name := range names {
		until(t, "a request for "+name+" is queued", func(ctx context.Context) (bool, string) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			ack, err := conn.RequestWithContext(ctx, "sluice.job."+name, []byte("{}"))
			return err == nil && !bytes.Contains(ack.Data, []byte("error")), fmt.Sprint(err)
		})
	}
}

// jobOf is the Job of the definition, nil if there is none.
func (p *controlPlane) jobOf(ctx context.Context, space, definition string) (*batchv1.Job, error) {
	jobs, err := p.BatchV1().Jobs(space).List(ctx, metav1.ListOptions{LabelSelector: "sluice/definition=" + definition})
	if err != nil || len(jobs.Items) == 0 {
		return nil, err
	}
	return &jobs.Items[0], nil
}

// jobPod waits for the pod that the Job's controller has made.
func (p *controlPlane) jobPod(t *testing.T, space, definition string) (pod corev1.Pod) {
	t.Helper()
	until(t, "the pod of "+definition, func(ctx context.Context) (bool, string) {
		pods, err := p.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "sluice/definition=" + definition})
		if err != nil || len(pods.Items) == 0 {
			return false, fmt.Sprint(err)
		}
		pod = pods.Items[0]
		return true, ""
	})
	return pod
}

// succeed plays the kubelet, which reports that the pod has run, and whose output is asked for then.
func (p *controlPlane) succeed(t *testing.T, pod corev1.Pod) {
	t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	status := fmt.Sprintf(`{"status":{"phase":"Succeeded","startTime":%[1]q,"containerStatuses":[{"name":"main","image":"example/batch:1","imageID":"x","ready":false,
		"restartCount":0,"state":{"terminated":{"exitCode":0,"reason":"Completed","startedAt":%[1]q,"finishedAt":%[1]q}}}]}}`, now)
	if _, err := p.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}
