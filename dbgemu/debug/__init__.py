"""What every debugger front end shares."""
