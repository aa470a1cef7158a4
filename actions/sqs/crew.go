package sqs

// crew are the goroutines that make an accumulator's requests. Each makes one
// after the other: the SDK calls itself some forty deep, and a goroutine's stack
// is copied several times until it has room for that; one that is kept has it,
// which takes a twentieth off a message at 50 jobs at once. The fields belong to
// the accumulator's lock.
type crew struct {
	resting []chan func() // of those who wait for a request, at most maxFlights
	off     bool          // nobody rests any more
}

// hand has one of the crew, or a new one, do it. a.mu is held.
func (a *accumulator) hand(do func()) {
	n := len(a.crew.resting)
	if n == 0 {
		a.wait.Go(func() { a.serve(do) })
		return
	}
	next := a.crew.resting[n-1] // the last: its stack is the least likely to have been given back
	a.crew.resting = a.crew.resting[:n-1]
	next <- do
}

// serve does one thing after the other until the crew is dismissed.
func (a *accumulator) serve(do func()) {
	next := make(chan func(), 1)
	for do != nil {
		do()
		if !a.rest(next) {
			return
		}
		do = <-next
	}
}

// rest has the owner of next wait there, unless there is no need for it.
func (a *accumulator) rest(next chan func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.crew.off || len(a.crew.resting) == maxFlights {
		return false
	}
	a.crew.resting = append(a.crew.resting, next)
	return true
}

// dismiss ends those who rest, now and from now on. Messages still leave, each
// request with a goroutine of its own.
func (a *accumulator) dismiss() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.crew.off = true
	for _, next := range a.crew.resting {
		close(next)
	}
	a.crew.resting = nil
}
