package queue

import "github.com/sealpost/sealpost/crashpoint"

// before is passed right before the settlements of a batch are sent.
func (g *settlement) before() {
	switch g.move {
	case moveDone:
		crashpoint.Point("done-before")
	case moveDelay:
		crashpoint.Point("delay-before")
	case moveDead:
		crashpoint.Point("dead-before")
	case movePark:
		crashpoint.Point("park-before")
	case moveRelease:
		crashpoint.Point("release-before")
	}
}

// after is passed when Redis has taken the settlement and nobody knows of it.
func (g *settlement) after() {
	switch g.move {
	case moveDone:
		crashpoint.Point("done-after")
	case moveDelay:
		crashpoint.Point("delay-after")
	case moveDead:
		crashpoint.Point("dead-after")
	case movePark:
		crashpoint.Point("park-after")
	case moveRelease:
		crashpoint.Point("release-after")
	}
}
