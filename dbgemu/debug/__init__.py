"""What every debugger front end shares: one session, its points, memory and run control."""
