//go:build !linux

package child

import "context"

// Supported says whether programs can be run on this system.
const Supported = false

// Run returns ErrSystem.
func (c *Command) Run(context.Context) (End, error) { return End{}, ErrSystem }
