package job

// SlimFaasStatus is the word of SlimFaas for where a run stands: Queued, Pending, Running, Succeeded, Failed or ImagePullBackOff.
func (r Run) SlimFaasStatus() string {
	switch r.Phase {
	case Queued, Waiting:
		return "Queued"
	case Creating, Pending:
		if r.Reason == "ImagePullBackOff" || r.Reason == "ErrImagePull" {
			return "ImagePullBackOff"
		}
		return "Pending"
	case Running, Succeeded, Failed:
		return string(r.Phase)
	case Cancelled, Rejected:
		return "Failed"
	}
	return "Queued" // a record that says nothing is not started
}
