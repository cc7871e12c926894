package worker

// Pid returns the number of the present child, zero when there is none.
func (t *Token) Pid() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cur == nil {
		return 0
	}
	return t.cur.cmd.Process.Pid
}
