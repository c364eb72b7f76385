"""Any folder of video files with a table of pairs."""
