//! Writes tools in Cohere's words.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::request::Request;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::carry::Feature;
use crate::wire::cohere::write::Writer;

impl Writer {
    /// Writes the tools and how to choose among them.
    ///
    /// # Errors
    /// Something has no place that must not be left out.
    pub fn tools(&mut self, request: &Request, body: &mut Map<String, Value>) -> Result<()> {
        let mut tools = Vec::new();
        // Cohere cannot name the tool that has to be called; it can be given no other.
        let named = match &request.tool_choice {
            Some(ToolChoice::Named(name)) => Some(name),
            _ => None,
        };
        let offered = |tool: &Tool| {
            named.is_none_or(|named| matches!(tool, Tool::Function { name, .. } if name == named))
        };
        for (n, tool) in request.tools.iter().enumerate().filter(|(_, tool)| offered(tool)) {
            let at = format!("tools[{n}]");
            match tool {
                Tool::Function { name, description, parameters, rest, .. } => {
                    let empty = || json!({"type": "object", "properties": {}});
                    let parameters = parameters.clone().unwrap_or_else(empty);
                    let mut function = json!({"name": name, "parameters": parameters});
                    if let Some(description) = description {
                        function["description"] = Value::from(description.as_str());
                    }
                    let mut tool = Map::new();
                    tool.insert("type".to_owned(), Value::from("function"));
                    tool.insert("function".to_owned(), function);
                    self.rest(rest, &at, &mut tool)?;
                    tools.push(Value::Object(tool));
                }
                Tool::Own(own) if self.is_own => tools.push(own.clone()),
                Tool::Own(_) => self.losses.leave_out(Feature::OwnTool, &at)?,
            }
        }
        if !tools.is_empty() {
            body.insert("tools".to_owned(), Value::Array(tools));
        }
        self.strictness(&request.tools, body)?;
        self.tool_choice(request, body)?;
        if request.parallel_tools == Some(false) {
            self.losses.leave_out(Feature::ParallelTools, "parallel_tool_calls")?;
        }
        Ok(())
    }

    /// Cohere has one switch for all tools.
    fn strictness(&mut self, tools: &[Tool], body: &mut Map<String, Value>) -> Result<()> {
        let strict = |tool: &Tool| match tool {
            Tool::Function { strict, .. } => *strict,
            Tool::Own(_) => None,
        };
        let all = |wanted: bool| {
            !tools.is_empty() && tools.iter().all(|tool| strict(tool) == Some(wanted))
        };
        if all(true) || (self.is_own && all(false)) {
            body.insert("strict_tools".to_owned(), Value::from(all(true)));
            return Ok(());
        }
        for (n, _) in tools.iter().enumerate().filter(|(_, tool)| strict(tool) == Some(true)) {
            self.losses.leave_out(Feature::StrictTool, &format!("tools[{n}].strict"))?;
        }
        Ok(())
    }

    fn tool_choice(&mut self, request: &Request, body: &mut Map<String, Value>) -> Result<()> {
        let word = match &request.tool_choice {
            None | Some(ToolChoice::Auto) => return Ok(()),
            Some(ToolChoice::Required) => Value::from("REQUIRED"),
            Some(ToolChoice::None) => Value::from("NONE"),
            // Of the tools only the named one was written.
            Some(ToolChoice::Named(_)) if body.contains_key("tools") => Value::from("REQUIRED"),
            Some(ToolChoice::Own(own)) if self.is_own => own.clone(),
            Some(ToolChoice::Named(_)) => {
                return self.losses.leave_out(Feature::ToolChoice, "tool_choice");
            }
            Some(ToolChoice::Own(_)) => {
                return self.losses.leave_out(Feature::OwnToolChoice, "tool_choice");
            }
        };
        body.insert("tool_choice".to_owned(), word);
        Ok(())
    }
}
