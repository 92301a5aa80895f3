//! Our boundary to the Model Context Protocol: apps, tools, resources and prompts, over rmcp.
